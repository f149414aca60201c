#include "vm/launch_plan.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace vm {

using Json = nlohmann::json;

std::string to_json(const LaunchPlan& plan) {
  Json disks = Json::array();
  for (const auto& disk : plan.disks) {
    disks.push_back({{"id", disk.id}, {"path", disk.path}, {"read_only", disk.read_only}});
  }
  Json json{
      {"version", LaunchPlan::kVersion},
      {"hypervisor", plan.hypervisor},
      {"accel", plan.accel},
      {"kernel", plan.kernel},
      {"initramfs", plan.initramfs},
      {"kernel_args", plan.kernel_args},
      {"cpuset_cpus", plan.cpuset_cpus},
      {"cpus", plan.cpus},
      {"mem_mib", plan.mem_mib},
      {"balloon_mib", plan.balloon_mib},
      {"disks", disks},
      {"health", to_json(plan.health)},
      {"boot", wire::to_json(plan.boot)},
  };
  if (plan.restore) {
    json["restore"] = {{"directory", plan.restore->directory},
                       {"link_epoch", plan.restore->link_epoch},
                       {"stamps", plan.restore->stamps}};
  }
  // What a user typed may not be UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

LaunchPlan parse_launch_plan(std::string_view text) {
  const Json json = base::parse_json(text);
  LaunchPlan plan;
  try {
    const int version = json.at("version").get<int>();
    if (version != LaunchPlan::kVersion) {
      throw base::Error(base::cat("reading a launch plan: version ", version, ", this fcvm reads ",
                                  LaunchPlan::kVersion));
    }
    json.at("hypervisor").get_to(plan.hypervisor);
    json.at("accel").get_to(plan.accel);
    json.at("kernel").get_to(plan.kernel);
    json.at("initramfs").get_to(plan.initramfs);
    json.at("kernel_args").get_to(plan.kernel_args);
    json.at("cpuset_cpus").get_to(plan.cpuset_cpus);
    json.at("cpus").get_to(plan.cpus);
    json.at("mem_mib").get_to(plan.mem_mib);
    json.at("balloon_mib").get_to(plan.balloon_mib);
    for (const Json& disk : json.at("disks")) {
      plan.disks.push_back({disk.at("id").get<std::string>(), disk.at("path").get<std::string>(),
                            disk.at("read_only").get<bool>()});
    }
    // Absent in plans of older versions.
    if (json.contains("health")) {
      plan.health = parse_health_check(json.at("health").get<std::string>());
    }
    if (json.contains("restore")) {
      const Json& restore = json.at("restore");
      plan.restore = RestorePlan{restore.at("directory").get<std::string>(),
                                 restore.at("link_epoch").get<std::uint64_t>(),
                                 restore.value("stamps", decltype(RestorePlan::stamps){})};
    }
    plan.boot = wire::parse_boot_plan(json.at("boot").get<std::string>());
  } catch (const Json::exception& error) {
    throw base::Error(base::cat("reading a launch plan: ", error.what()));
  }
  return plan;
}

}  // namespace vm
