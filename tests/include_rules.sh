#!/bin/sh
# Checks every #include of the tree against the table of floors in ARCHITECTURE.md.
# usage: include_rules.sh [TREE]      exit 0: every edge is allowed; 1: not; 2: the table is unusable
set -eu

tree=${1:-$(dirname "$0")/..}
cd "$tree"

if [ ! -f ARCHITECTURE.md ]; then
  echo "include_rules: $tree/ARCHITECTURE.md is missing" >&2
  exit 2
fi

# One pass of awk over the table first, then over the sources; find's order is made stable by sort.
find . -name .git -prune -o -path ./build -prune -o -type f \( -name '*.cc' -o -name '*.h' \) -print |
  sed 's|^\./||' | LC_ALL=C sort |
  awk '
    function fail(text) { print text; failures++ }

    function trim(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); return s }

    # Rows look like: | 1 | `wire/` | concern | base, storage |
    function read_table(   line, cell, n, name, i, uses, m, number) {
      while ((getline line < "ARCHITECTURE.md") > 0) {
        if (line !~ /^\| *([0-9]+|guest) *\| *`[a-z-]+\/` *\|/) continue
        n = split(line, cell, "|")
        name = trim(cell[3]); gsub(/[`\/]/, "", name)
        floor_of[name] = trim(cell[2])
        rows++
        m = split(cell[n - 1], uses, ",")
        for (i = 1; i <= m; i++) {
          uses[i] = trim(uses[i])
          if (uses[i] ~ /^[a-z-]+$/) may_use[name, uses[i]] = 1
          else if (uses[i] != "–") table_error("row " name ": cannot read the folder " uses[i])
        }
      }
      close("ARCHITECTURE.md")
      if (rows == 0) table_error("no row of the table of floors was found")
      # The guest program stands above every library it uses.
      for (pair in may_use) {
        split(pair, edge, SUBSEP)
        if (!(edge[2] in floor_of)) {
          table_error("row " edge[1] " names the unknown folder " edge[2])
        } else {
          number = floor_of[edge[1]] == "guest" ? 99 : floor_of[edge[1]] + 0
          if (floor_of[edge[2]] == "guest" || floor_of[edge[2]] + 0 >= number)
            table_error("row " edge[1] " uses " edge[2] ", which is not on a lower floor")
        }
      }
      if (bad_table) exit 2
    }

    function table_error(text) {
      print "ARCHITECTURE.md: " text
      bad_table = 1
    }

    function check_file(file,   folder, is_test, line, n, target, to) {
      folder = file; sub(/\/.*/, "", folder)
      if (folder == file) { fail(file ": a source file at the top belongs in a folder"); return }
      is_test = file ~ /_(test|fuzz|bench)\.cc$/ || file ~ /_test_support\.(cc|h)$/ || \
                file ~ /\/testing\// || folder == "tests"
      if (folder != "tests" && !(folder in floor_of)) {
        fail(file ": folder " folder "/ has no row in the table of ARCHITECTURE.md")
        return
      }
      files++
      n = 0
      while ((getline line < file) > 0) {
        n++
        if (line ~ /^[ \t]*#[ \t]*include[ \t]*</) {
          target = line; sub(/^[^<]*</, "", target); sub(/>.*/, "", target)
          if (target ~ /^(boost|curl|spdlog)\// && !is_test &&
              (folder == "base" || folder == "wire" || folder == "fc-agent"))
            fail(file ":" n ": " folder "/ uses no Boost, curl or spdlog, but includes <" target ">")
          if (file ~ /\.h$/ && file !~ /\/detail\// && !is_test &&
              (target ~ /^(boost|spdlog)\// || target == "nlohmann/json.hpp"))
            fail(file ":" n ": a public header includes <" target ">: move it to the .cc file")
          continue
        }
        if (line !~ /^[ \t]*#[ \t]*include[ \t]*"/) continue
        target = line; sub(/^[^"]*"/, "", target); sub(/".*/, "", target)
        to = target; sub(/\/.*/, "", to)
        edges++
        if (target !~ /\// || target ~ /(^|\/)\.\.?(\/|$)/) {
          fail(file ":" n ": \"" target "\" is not a path from the top of the tree")
        } else if (to == folder) {
          continue
        } else if (to == "tests") {
          if (!is_test) fail(file ":" n ": edge " folder " -> tests: only tests may use tests/")
          else if (target !~ /^tests\/support\// && folder != "tests")
            fail(file ":" n ": edge " folder " -> " target ": only tests/support is shared")
        } else if (!(to in floor_of)) {
          fail(file ":" n ": edge " folder " -> " to ": the table has no folder " to "/")
        } else if (folder != "tests" && !((folder, to) in may_use)) {
          fail(file ":" n ": edge " folder " -> " to " (\"" target \
               "\") is not in the table of ARCHITECTURE.md")
        }
      }
      close(file)
    }

    BEGIN { read_table() }
    { check_file($0) }
    END {
      if (bad_table) exit 2
      if (failures) { print failures " forbidden include(s)"; exit 1 }
      if (files == 0) { print "no source file was found"; exit 2 }
      print files " files, " edges + 0 " includes, every edge is in the table"
    }'
