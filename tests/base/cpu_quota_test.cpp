// Quotas of control groups, out of trees of files as Linux shows them.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/cpu.hpp"

namespace pando {
namespace {

namespace fs = std::filesystem;

class CpuQuota : public testing::Test {
 protected:
  CpuQuota() : root_(fs::temp_directory_path() / ("pando-quota-" + std::to_string(getpid()))) { fs::remove_all(root_); }
  ~CpuQuota() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_.string() + path).substr(0, (root_.string() + path).rfind('/')));
    std::ofstream(root_.string() + path) << text;
  }
  void process(const std::string& cgroup, const std::string& mountinfo) {
    write("/proc/self/cgroup", cgroup);
    write("/proc/self/mountinfo", mountinfo);
  }
  double quota() const { return cpu_quota(root_.string()); }

 private:
  fs::path root_;
};

const char v2_mount[] = "25 1 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";

TEST_F(CpuQuota, NothingThereIsNoLimit) { EXPECT_TRUE(std::isinf(quota())); }

TEST_F(CpuQuota, VersionTwoFollowsTheProcessAndItsAncestors) {
  process("0::/user.slice/session.scope\n", v2_mount);
  write("/sys/fs/cgroup/user.slice/session.scope/cpu.max", "max 100000\n");
  EXPECT_TRUE(std::isinf(quota()));
  write("/sys/fs/cgroup/user.slice/cpu.max", "250000 100000\n");
  EXPECT_DOUBLE_EQ(quota(), 2.5);
  write("/sys/fs/cgroup/user.slice/session.scope/cpu.max", "30000 20000\n");
  EXPECT_DOUBLE_EQ(quota(), 1.5);
  write("/sys/fs/cgroup/other/cpu.max", "1000 100000\n");
  EXPECT_DOUBLE_EQ(quota(), 1.5);
  write("/sys/fs/cgroup/cpu.max", "100000 100000\n");  // the root of a container's namespace
  EXPECT_DOUBLE_EQ(quota(), 1);
}

TEST_F(CpuQuota, VersionOneFollowsTheCpuController) {
  process("4:memory:/m\n3:cpu,cpuacct:/a/b\n2:cpuset:/c\n",
          "30 1 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
          "31 1 0:2 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n");
  write("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
  write("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
  EXPECT_TRUE(std::isinf(quota()));
  write("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "300000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(quota(), 3);
  write("/sys/fs/cgroup/cpu,cpuacct/m/cpu.cfs_quota_us", "1\n");
  write("/sys/fs/cgroup/cpu,cpuacct/m/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(quota(), 3);
}

// A container without a namespace of its own sees the host's path, and only its own part of the tree.
TEST_F(CpuQuota, PathsOfTheHostAreTakenFromTheMountsRoot) {
  process("3:cpu:/docker/0a1b/inner\n", "30 1 0:1 /docker/0a1b /sys/fs/cgroup/my\\040cpu rw - cgroup cgroup rw,cpu\n");
  write("/sys/fs/cgroup/my cpu/cpu.cfs_quota_us", "200000\n");
  write("/sys/fs/cgroup/my cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(quota(), 2);
  write("/sys/fs/cgroup/my cpu/inner/cpu.cfs_quota_us", "50000\n");
  write("/sys/fs/cgroup/my cpu/inner/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(quota(), 0.5);
  process("3:cpu:/elsewhere\n", "30 1 0:1 /docker/0a1b /sys/fs/cgroup/my\\040cpu rw - cgroup cgroup rw,cpu\n");
  EXPECT_DOUBLE_EQ(quota(), 2);
}

TEST_F(CpuQuota, BothVersionsAtOnceAndNonsense) {
  process("1:cpu:/x\n0::/../outside\n", std::string(v2_mount) + "30 1 0:1 / /cg1 rw - cgroup cgroup rw,cpu\nrubbish\n");
  write("/sys/fs/cgroup/cpu.max", "400000 100000\n");
  write("/cg1/x/cpu.cfs_quota_us", "700000\n");
  write("/cg1/x/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(quota(), 4);
  write("/sys/fs/cgroup/cpu.max", "four 100000\n");
  EXPECT_DOUBLE_EQ(quota(), 7);
  write("/cg1/x/cpu.cfs_period_us", "0\n");
  EXPECT_TRUE(std::isinf(quota()));
}

TEST(UsableCpus, LieWithinTheMask) {
  EXPECT_GE(usable_cpus(), 1);
  EXPECT_LE(usable_cpus(), static_cast<int>(allowed_cpus().size()));
}

}  // namespace
}  // namespace pando
