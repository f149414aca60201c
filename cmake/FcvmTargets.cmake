# The five kinds of target in this tree. Every folder's CMakeLists.txt uses these and nothing else,
# so that warnings, hardening, include roots and output directories are decided here, once.
#
#   fcvm_library(<folder> [SUFFIX s] SOURCES … [HEADERS …] [PUBLIC …] [PRIVATE …])
#     static library fcvm_<folder>[_s], alias fcvm::<folder>[_s]; '-' in the folder becomes '_'.
#     Headers of the folder (not of detail/) are compiled on their own when FCVM_VERIFY_HEADERS.
#   fcvm_program(<name> SOURCES … [DEPS …] [STATIC] [INSTALL bin|libexec])
#     program in <build>/bin. STATIC is fully static, small and stripped, unless a sanitizer is on
#     (sanitizers have no static runtime; such a program serves component tests only).
#   fcvm_preload(<name> SOURCES … [INSTALL libexec])
#     lib<name>.so in <build>/bin, to be preloaded into a program of others: exports only what its
#     source marks, needs libc alone, and is neither sanitized nor instrumented.
#   fcvm_test(<name> SOURCES … [DEPS …] LABELS unit|component|root|vm|docker|perf …
#             [TIMEOUT seconds] [SERIAL] [RESOURCE_LOCK name])
#     GoogleTest binary in <build>/tests, one ctest test per TEST(); links fcvm::test_support.
#     Label vm implies the fixture `assets` and the lock `guest_cpu`: one guest at a time.
#   fcvm_fuzzer(<name> SOURCES … [DEPS …] [CORPUS dir])
#     libFuzzer program in <build>/fuzz when FCVM_FUZZ is on; otherwise a unit test that replays the
#     seed corpus (default: corpus/<name> beside the CMakeLists.txt) once.

include(GNUInstallDirs)

function(fcvm_library folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SUFFIX" "SOURCES;HEADERS;PUBLIC;PRIVATE")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "fcvm_library(${folder}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  string(REPLACE "-" "_" id "${folder}")
  set(headers ${arg_HEADERS})
  if(arg_SUFFIX)
    string(APPEND id "_${arg_SUFFIX}")
  elseif(FCVM_VERIFY_HEADERS AND NOT headers)
    file(GLOB_RECURSE headers CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.h")
    list(FILTER headers EXCLUDE REGEX "/detail/")
  endif()

  add_library(fcvm_${id} STATIC ${arg_SOURCES})
  add_library(fcvm::${id} ALIAS fcvm_${id})
  target_link_libraries(fcvm_${id} PUBLIC fcvm_compile_options ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
  if(FCVM_VERIFY_HEADERS AND headers)
    target_sources(fcvm_${id} PUBLIC FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}"
                                     FILES ${headers})
    set_target_properties(fcvm_${id} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  endif()
endfunction()

function(fcvm_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "STATIC" "INSTALL" "SOURCES;DEPS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "fcvm_program(${name}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE fcvm_compile_options ${arg_DEPS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  if(arg_STATIC AND NOT FCVM_SANITIZE AND NOT FCVM_FUZZ)
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name} PRIVATE $<$<NOT:$<CONFIG:Debug>>:-Os>)
    target_link_options(${name} PRIVATE -static -no-pie $<$<NOT:$<CONFIG:Debug>>:-s>)
  endif()
  if(arg_INSTALL STREQUAL "bin")
    install(TARGETS ${name} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  elseif(arg_INSTALL STREQUAL "libexec")
    install(TARGETS ${name} RUNTIME DESTINATION "${CMAKE_INSTALL_LIBEXECDIR}/fcvm")
  elseif(arg_INSTALL)
    message(FATAL_ERROR "fcvm_program(${name}): INSTALL is bin or libexec, not ${arg_INSTALL}")
  endif()
endfunction()

function(fcvm_preload name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "INSTALL" "SOURCES")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "fcvm_preload(${name}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  add_library(${name} MODULE ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin"
                                           CXX_VISIBILITY_PRESET hidden
                                           VISIBILITY_INLINES_HIDDEN ON)
  # Not fcvm_compile_options, which bring the sanitizers.
  target_compile_options(${name} PRIVATE -O2 -Wall -Wextra -Wshadow -Wconversion -fno-exceptions
                                         -fno-rtti -fstack-protector-strong)
  target_link_options(${name} PRIVATE -Wl,-z,relro,-z,now,--as-needed)
  if(arg_INSTALL STREQUAL "libexec")
    install(TARGETS ${name} LIBRARY DESTINATION "${CMAKE_INSTALL_LIBEXECDIR}/fcvm"
            PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
                        WORLD_READ WORLD_EXECUTE)
  elseif(arg_INSTALL)
    message(FATAL_ERROR "fcvm_preload(${name}): INSTALL is libexec, not ${arg_INSTALL}")
  endif()
endfunction()

function(fcvm_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT;RESOURCE_LOCK" "SOURCES;DEPS;LABELS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "fcvm_test(${name}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_LABELS)
    message(FATAL_ERROR "fcvm_test(${name}): LABELS is missing")
  endif()
  foreach(label IN LISTS arg_LABELS)
    if(NOT label MATCHES "^(unit|component|root|vm|docker|perf)$")
      message(FATAL_ERROR "fcvm_test(${name}): unknown label ${label}")
    endif()
  endforeach()
  if(NOT FCVM_BUILD_TESTS)
    return()
  endif()

  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE fcvm_compile_options ${arg_DEPS} fcvm::test_support
                                        GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")

  set(properties "")
  if(arg_TIMEOUT)
    list(APPEND properties TIMEOUT ${arg_TIMEOUT})
  elseif("vm" IN_LIST arg_LABELS)
    list(APPEND properties TIMEOUT 300)
  else()
    list(APPEND properties TIMEOUT 60)
  endif()
  if(arg_SERIAL)
    list(APPEND properties RUN_SERIAL TRUE)
  endif()
  if(arg_RESOURCE_LOCK)
    list(APPEND properties RESOURCE_LOCK ${arg_RESOURCE_LOCK})
  elseif("vm" IN_LIST arg_LABELS)
    list(APPEND properties RESOURCE_LOCK guest_cpu)
  endif()
  if("vm" IN_LIST arg_LABELS)
    list(APPEND properties FIXTURES_REQUIRED assets)
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 30
                       PROPERTIES ${properties})
  # A list does not survive the discovery script: labels are set by a script that ctest runs after it.
  set(script "${CMAKE_CURRENT_BINARY_DIR}/${name}_labels.cmake")
  file(WRITE "${script}"
       "if(${name}_TESTS)\n"
       "  set_tests_properties(\${${name}_TESTS} PROPERTIES LABELS \"${arg_LABELS}\")\n"
       "endif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${script}")
endfunction()

function(fcvm_fuzzer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "CORPUS" "SOURCES;DEPS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "fcvm_fuzzer(${name}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_CORPUS)
    set(arg_CORPUS "corpus/${name}")
  endif()
  get_filename_component(corpus "${arg_CORPUS}" ABSOLUTE)
  if(NOT IS_DIRECTORY "${corpus}")
    message(FATAL_ERROR "fcvm_fuzzer(${name}): the seed corpus ${corpus} is missing")
  endif()
  if(FCVM_FUZZ)
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE fcvm_compile_options ${arg_DEPS})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer,address,undefined)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzz")
    set_property(GLOBAL APPEND PROPERTY FCVM_FUZZERS "${name}|${corpus}")
  elseif(FCVM_BUILD_TESTS)
    add_executable(${name} ${arg_SOURCES} "${PROJECT_SOURCE_DIR}/tests/support/fuzz_replay_main.cc")
    target_link_libraries(${name} PRIVATE fcvm_compile_options ${arg_DEPS})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    add_test(NAME "fuzz_corpus.${name}" COMMAND ${name} "${corpus}")
    set_tests_properties("fuzz_corpus.${name}" PROPERTIES LABELS unit TIMEOUT 60)
  endif()
endfunction()
