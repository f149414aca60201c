#include <list>

#include "cli/command.h"
#include "cli/output.h"
#include "vm/clock.h"
#include "vm/flag_parsers.h"
#include "vm/log_reader.h"

namespace cli {
namespace {

constexpr std::size_t kShortIdChars = 12;

// One VM's log, printed.
class Printer {
 public:
  Printer(const vm::VmStore& store, vm::VmRecord vm, const vm::LogSelection& selection,
          std::string prefix, bool timestamps)
      : vm_(std::move(vm)),
        reader_(store.paths(vm_.id).log, selection),
        prefix_(std::move(prefix)),
        timestamps_(timestamps) {}

  const vm::VmRecord& vm() const { return vm_; }
  bool past_end() const { return reader_.past_end(); }

  void print_new() {
    std::string text;
    vm::LogStream stream = vm::LogStream::kStdout;
    const auto flush = [&] {
      if (stream == vm::LogStream::kStdout) {
        print(text);
      } else {
        print_error_text(text);
      }
      text.clear();
    };
    reader_.read([&](const vm::LogEntry& entry) {
      // Pieces of what goes to one stream together: one write for many lines.
      if (entry.stream != stream || text.size() > kPieceBytes) flush();
      stream = entry.stream;
      bool& in_line = entry.stream == vm::LogStream::kStdout ? in_stdout_line_ : in_stderr_line_;
      if (!in_line) {
        text += prefix_;
        if (timestamps_) text += entry.time + ' ';
      }
      text += entry.text;
      if (entry.ends_line) text += '\n';
      in_line = !entry.ends_line;
    });
    flush();
  }

 private:
  static constexpr std::size_t kPieceBytes = 256 * 1024;
  vm::VmRecord vm_;
  vm::LogReader reader_;
  std::string prefix_;
  bool timestamps_;
  bool in_stdout_line_ = false;
  bool in_stderr_line_ = false;
};

void follow(const vm::VmStore& store, std::list<Printer>& printers) {
  std::vector<vm::VmRecord> vms;
  for (const auto& printer : printers) vms.push_back(printer.vm());
  vm::LogWatch watch(store, vms);
  while (!printers.empty()) {
    for (auto printer = printers.begin(); printer != printers.end();) {
      // Asked before the log is read: what was written until the end is there then.
      const bool ended = watch.ended(printer->vm());
      printer->print_new();
      printer = ended || printer->past_end() ? printers.erase(printer) : std::next(printer);
    }
    if (!printers.empty()) watch.wait();
  }
}

}  // namespace

int logs(Invocation& invocation) {
  bool follow_flag = false;
  bool timestamps = false;
  bool names = false;
  vm::LogSelection selection;
  Options options;
  options.flag("follow,f", follow_flag, "Go on until the containers have ended");
  options.flag("timestamps,t", timestamps, "Put the time before each line");
  options.flag("names,n", names, "Put the VM's name before each line");
  options.value("since", "TIME", "Only lines from then on: RFC 3339, seconds, or 10m for ago",
                [&](const std::string& text) {
                  selection.since_ns = vm::parse_log_time(text, vm::wall_clock_ns());
                });
  options.value("until", "TIME", "Only lines up to then", [&](const std::string& text) {
    selection.until_ns = vm::parse_log_time(text, vm::wall_clock_ns());
  });
  options.value("tail", "N", "Only the last N lines; -1 for all", [&](const std::string& text) {
    if (text != "-1" && text != "all") selection.tail = parse_count(text);
  });
  const auto vms = invocation.parse(options, Order::kAnywhere);
  require_names(vms, false);

  vm::VmManager manager = invocation.manager();
  std::list<Printer> printers;
  const int status =
      for_each_vm(invocation, manager, vms, [&](const vm::VmRecord& vm, const std::string&) {
        std::string prefix;
        if (names) {
          prefix = vm.name + ' ';
        } else if (vms.size() > 1) {
          prefix = vm.id.substr(0, kShortIdChars) + ' ';
        }
        printers.emplace_back(manager.store(), vm, selection, std::move(prefix), timestamps);
      });
  if (status != 0) return status;
  if (follow_flag) {
    follow(manager.store(), printers);
  } else {
    for (auto& printer : printers) printer.print_new();
  }
  return 0;
}

}  // namespace cli
