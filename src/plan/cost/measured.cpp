#include "plan/cost/measured.hpp"

#include <algorithm>
#include <cmath>

namespace pando::plan {
namespace {

double slower(const CostFile& file, const DeviceKind& kind) {
  return file.machine.peak_gflops / kind.machine.peak_gflops;
}

// `count` of the points, sorted by size, spread evenly over the time that they stand for: most of a plan's time is that
// of large boxes.
std::vector<const CostPoint*> spread(std::vector<const CostPoint*> points, size_t count) {
  std::stable_sort(points.begin(), points.end(),
                   [](const CostPoint* a, const CostPoint* b) { return a->expected_ns < b->expected_ns; });
  if (count >= points.size()) return points;
  double all = 0, passed = 0;
  for (const CostPoint* p : points) all += p->ns;
  std::vector<const CostPoint*> out;
  for (const CostPoint* p : points) {
    passed += p->ns;
    if (passed * static_cast<double>(2 * count) >= all * static_cast<double>(2 * out.size() + 1) && out.size() < count)
      out.push_back(p);
  }
  return out;
}

}  // namespace

FittedFormulas::FittedFormulas(const CostFile& file, size_t most) : bytes_per_ns_(file.machine.memory_gb_per_s) {
  std::map<std::string, std::vector<const CostPoint*>> by_class;
  double all = 0;
  for (const CostPoint& p : file.points) {
    if (!(p.ns > 0)) continue;
    by_class[p.cls].push_back(&p);
    all += std::sqrt(p.ns);
  }
  std::vector<double> errors;
  auto check = [&](const CostPoint& p, const Coefficients& c) {
    std::array<double, 3> f = features(p);
    errors.push_back(std::abs((c[0] * f[0] + c[1] * f[1] + c[2] * f[2]) / p.ns - 1));
  };
  // Classes that take long get more points; two each to begin with.
  size_t spare = most > 2 * by_class.size() ? most - 2 * by_class.size() : 0;
  for (auto& [cls, points] : by_class) {
    double weight = 0;
    for (const CostPoint* p : points) weight += std::sqrt(p->ns);
    auto count = std::min<size_t>(2, most - std::min(used_, most)) +
                 static_cast<size_t>(static_cast<double>(spare) * weight / all);
    std::vector<const CostPoint*> chosen = spread(points, count);
    if (chosen.empty()) continue;
    used_ += chosen.size();
    Coefficients c = fit(chosen);
    classes_[cls] = c;
    if (chosen.size() < points.size()) {
      std::set<const CostPoint*> fitted_to(chosen.begin(), chosen.end());
      for (const CostPoint* p : points)
        if (!fitted_to.contains(p)) check(*p, c);
      continue;
    }
    constexpr size_t few = 64;  // each left out in turn
    for (size_t i = 0; chosen.size() > 1 && chosen.size() <= few && i < chosen.size(); i++) {
      std::vector<const CostPoint*> others = chosen;
      others.erase(others.begin() + static_cast<long>(i));
      check(*chosen[i], fit(others));
    }
  }
  validated_ = errors.size();
  if (errors.empty()) return;
  std::sort(errors.begin(), errors.end());
  median_error_ = errors[errors.size() / 2];
  worst_error_ = errors.back();
}

std::array<double, 3> FittedFormulas::features(const CostPoint& p) const {
  return {p.expected_ns, p.bytes / bytes_per_ns_, 1000};
}

// Coordinate descent; a little of the plain ratio to the expected time is mixed in, so that few points suffice.
FittedFormulas::Coefficients FittedFormulas::fit(const std::vector<const CostPoint*>& points) const {
  constexpr double prior = 0.01;
  constexpr int rounds = 400;
  std::vector<double> ratios;
  for (const CostPoint* p : points)
    if (p->expected_ns > 0) ratios.push_back(p->ns / p->expected_ns);
  std::sort(ratios.begin(), ratios.end());
  double ratio = ratios.empty() ? 1 : ratios[ratios.size() / 2];
  const Coefficients start{ratio, 0, 0};
  Coefficients c = start;
  for (int round = 0; round < rounds; round++)
    for (size_t j = 0; j < 3; j++) {
      double top = 0, bottom = 0;
      for (const CostPoint* p : points) {
        std::array<double, 3> f = features(*p);
        for (double& x : f) x /= p->ns;
        double rest = 1;
        for (size_t k = 0; k < 3; k++)
          if (k != j) rest -= c[k] * f[k];
        top += f[j] * rest;
        bottom += f[j] * f[j];
      }
      double weight = prior * bottom;
      if (bottom + weight > 0) c[j] = std::max(0.0, (top + weight * start[j]) / (bottom + weight));
    }
  return c;
}

double FittedFormulas::ns(const CostPoint& p) const {
  auto found = classes_.find(p.cls);
  if (found == classes_.end()) return -1;
  std::array<double, 3> f = features(p);
  return found->second[0] * f[0] + found->second[1] * f[1] + found->second[2] * f[2];
}

FittedCosts::FittedCosts(CostFile file) : file_(std::move(file)), formulas_(file_) {}

int64_t FittedCosts::compute_ns(const Work& work, const Box& box, const DeviceKind& kind) const {
  double ns = formulas_.ns(describe_point(work, box, file_.machine));
  if (ns >= 0) return to_task_ns(ns * slower(file_, kind));
  missing_.add(class_of(work));
  return Roofline().compute_ns(work, box, kind);
}

std::vector<std::string> FittedCosts::missing() const { return missing_.list(); }

std::string FittedCosts::note() const {
  return fmt::format("fitted to {} points; on {} others the median error is {:.1f} %, the largest {:.1f} %",
                     formulas_.points(), formulas_.validated(), 100 * formulas_.median_error(),
                     100 * formulas_.worst_error());
}

MeasuredCosts::MeasuredCosts(CostFile file) : file_(std::move(file)), formulas_(file_, file_.points.size()) {
  for (const CostPoint& p : file_.points) {
    Known& k = known_[p.op];
    k.ns[box_key(p.box, p.domain)] = p.ns;
    k.points.push_back(&p);
  }
}

int64_t MeasuredCosts::compute_ns(const Work& work, const Box& box, const DeviceKind& kind) const {
  const double factor = slower(file_, kind);
  auto known = known_.find(signature_of(work));
  if (known != known_.end()) {
    Extents domain = extents_of(work.view().node.op->domain(work.view()));
    auto exact = known->second.ns.find(box_key(box, domain));
    if (exact != known->second.ns.end()) return to_task_ns(exact->second * factor);
  }
  CostPoint here = describe_point(work, box, file_.machine);
  missing_.add(fmt::format("{} {}", here.op, to_string(box)));
  if (known != known_.end() && here.expected_ns > 0) {
    const CostPoint* best = nullptr;
    double least = 0;
    for (const CostPoint* p : known->second.points) {
      double far = p->expected_ns > 0 ? std::abs(std::log(here.expected_ns / p->expected_ns)) : 1e9;
      if (!best || far < least) best = p, least = far;
    }
    if (best->expected_ns > 0) return to_task_ns(best->ns * here.expected_ns / best->expected_ns * factor);
  }
  double ns = formulas_.ns(here);
  return ns >= 0 ? to_task_ns(ns * factor) : Roofline().compute_ns(work, box, kind);
}

std::vector<std::string> MeasuredCosts::missing() const { return missing_.list(); }

}  // namespace pando::plan
