// Einsum: operands are reduced pairwise, each pair by transposes around one matrix product.
#include <algorithm>
#include <map>
#include <string>

#include "import/converters.hpp"

namespace pando::onnx {
namespace {

// A tensor whose dimensions are named by letters.
struct Term {
  ValueId v;
  std::string letters;
};

class Einsum {
 public:
  Einsum(const OnnxNode& n, Builder& b) : n_(n), b_(b) { parse(); }

  ValueId run() {
    Term done = reduce_alone(0, letters_after(0));
    for (size_t i = 1; i < terms_.size(); i++) {
      std::string later = letters_after(i);
      done = combine(done, reduce_alone(i, done.letters + later), later);
    }
    done = sum_out(done, output_);
    return to_order(done, output_);
  }

 private:
  // Splits the equation; the dimensions of an ellipsis get the letters 0, 1, .. counted from the right.
  void parse() {
    std::string equation;
    for (char c : n_.s("equation", ""))
      if (c != ' ') equation += c;
    size_t arrow = equation.find("->");
    std::string left = equation.substr(0, arrow);
    size_t ellipsis = 0, begin = 0;
    for (int i = 0; i < n_.inputs(); i++) {
      if (begin > left.size()) n_.invalid("equation '{}' has too few operands", equation);
      size_t end = std::min(left.find(',', begin), left.size());
      std::string term = left.substr(begin, end - begin);
      begin = end + 1;
      auto rank = static_cast<size_t>(b_.rank(n_.in(i)));
      if (size_t dots = term.find("..."); dots != std::string::npos) {
        if (rank + 3 < term.size()) n_.invalid("equation '{}' does not fit operand {}", equation, i);
        size_t count = rank + 3 - term.size();
        term.replace(dots, 3, ellipsis_letters(count));
        ellipsis = std::max(ellipsis, count);
      }
      if (term.size() != rank ||
          !std::all_of(term.begin(), term.end(), [](unsigned char c) { return std::isalnum(c); }))
        n_.invalid("equation '{}' does not fit operand {} {}", equation, i, to_string(b_.shape(n_.in(i))));
      terms_.push_back({n_.in(i), term});
    }
    if (terms_.empty() || begin <= left.size()) n_.invalid("equation '{}' has another number of operands", equation);
    if (arrow != std::string::npos) {
      output_ = equation.substr(arrow + 2);
      if (size_t dots = output_.find("..."); dots != std::string::npos)
        output_.replace(dots, 3, ellipsis_letters(ellipsis));
    } else {
      output_ = implicit_output(ellipsis);
    }
    check_output(equation);
    find_extents();
  }

  static std::string ellipsis_letters(size_t count) {
    std::string s;
    for (size_t k = count; k-- > 0;) s += static_cast<char>('0' + k);
    return s;
  }

  // The ellipsis, then every letter that appears once, in alphabetical order.
  std::string implicit_output(size_t ellipsis) const {
    std::map<char, int> count;
    for (const Term& t : terms_)
      for (char c : t.letters) count[c]++;
    std::string out = ellipsis_letters(ellipsis);
    for (auto [c, times] : count)
      if (times == 1 && !std::isdigit(static_cast<unsigned char>(c))) out += c;
    return out;
  }

  void check_output(const std::string& equation) const {
    for (size_t i = 0; i < output_.size(); i++) {
      bool known = false;
      for (const Term& t : terms_) known = known || t.letters.find(output_[i]) != std::string::npos;
      if (!known || output_.find(output_[i], i + 1) != std::string::npos)
        n_.invalid("equation '{}': bad output '{}'", equation, output_);
    }
  }

  void find_extents() {
    for (const Term& t : terms_)
      for (size_t d = 0; d < t.letters.size(); d++) {
        int64_t& extent = extents_.emplace(t.letters[d], 1).first->second;
        int64_t here = b_.shape(t.v)[d];
        if (here != 1 && extent != 1 && here != extent)
          n_.invalid("dimension '{}' is {} and {}", t.letters[d], extent, here);
        if (here != 1) extent = here;
      }
  }

  std::string letters_after(size_t i) const {
    std::string s = output_;
    for (size_t k = i + 1; k < terms_.size(); k++) s += terms_[k].letters;
    return s;
  }

  static bool has(const std::string& s, char c) { return s.find(c) != std::string::npos; }

  // Diagonals of repeated letters, full extents, sums over letters that nothing else has.
  Term reduce_alone(size_t i, const std::string& needed) {
    Term t = terms_[i];
    for (size_t p = 0; p < t.letters.size(); p++)
      for (size_t q = t.letters.find(t.letters[p], p + 1); q != std::string::npos;
           q = t.letters.find(t.letters[p], p + 1))
        t = diagonal(t, p, q);
    Shape full;
    for (char c : t.letters) full.push_back(extents_[c]);
    t.v = b_.expand(t.v, full);
    return sum_out(t, needed);
  }

  // Dimensions p < q of equal extent n become one, at p's place: every n+1st element of the two seen as one.
  Term diagonal(Term t, size_t p, size_t q) {
    int64_t extent = b_.shape(t.v)[p];
    if (b_.shape(t.v)[q] != extent) n_.invalid("a diagonal of {}", to_string(b_.shape(t.v)));
    std::string last = t.letters;
    last.erase(q, 1);
    last.erase(p, 1);
    std::vector<int64_t> perm;
    for (int64_t d = 0; d < b_.rank(t.v); d++)
      if (d != static_cast<int64_t>(p) && d != static_cast<int64_t>(q)) perm.push_back(d);
    perm.push_back(static_cast<int64_t>(p));
    perm.push_back(static_cast<int64_t>(q));
    t.v = b_.transpose(t.v, perm);
    Shape flat(b_.shape(t.v).begin(), b_.shape(t.v).end() - 2);
    flat.push_back(extent * extent);
    int axis = static_cast<int>(flat.size()) - 1;
    t.v = b_.slice_axis(b_.reshape(t.v, flat), axis, 0, extent, extent + 1);
    Term at_end{t.v, last + t.letters[p]};
    t.letters.erase(q, 1);
    return {to_order(at_end, t.letters), t.letters};
  }

  Term sum_out(Term t, const std::string& needed) {
    std::vector<int64_t> axes;
    std::string kept;
    for (size_t d = 0; d < t.letters.size(); d++) {
      if (has(needed, t.letters[d])) kept += t.letters[d];
      else axes.push_back(static_cast<int64_t>(d));
    }
    return {axes.empty() ? t.v : b_.reduce(ReduceKind::sum, t.v, axes, false), kept};
  }

  ValueId to_order(const Term& t, const std::string& order) {
    std::vector<int64_t> perm;
    for (char c : order) perm.push_back(static_cast<int64_t>(t.letters.find(c)));
    return b_.transpose(t.v, perm);
  }

  int64_t extent(const std::string& letters) {
    int64_t n = 1;
    for (char c : letters) n *= extents_[c];
    return n;
  }

  // [batch, x only, summed] times [batch, summed, y only].
  Term combine(const Term& x, const Term& y, const std::string& needed) {
    std::string batch, summed, only_x, only_y;
    for (char c : x.letters) (!has(y.letters, c) ? only_x : has(needed, c) ? batch : summed) += c;
    for (char c : y.letters)
      if (!has(x.letters, c)) only_y += c;
    ValueId a = b_.reshape(to_order(x, batch + only_x + summed), {extent(batch), extent(only_x), extent(summed)});
    ValueId w = b_.reshape(to_order(y, batch + summed + only_y), {extent(batch), extent(summed), extent(only_y)});
    Shape shape;
    for (char c : batch + only_x + only_y) shape.push_back(extents_[c]);
    return {b_.reshape(b_.matmul(a, w), shape), batch + only_x + only_y};
  }

  const OnnxNode& n_;
  Builder& b_;
  std::vector<Term> terms_;
  std::string output_;
  std::map<char, int64_t> extents_;
};

Values einsum(const OnnxNode& n, Builder& b) { return {Einsum(n, b).run()}; }

constexpr Converter einsum_list[] = {{"Einsum", einsum}};

}  // namespace

std::span<const Converter> einsum_converters() { return einsum_list; }

}  // namespace pando::onnx
