# Options of the build and the INTERFACE target every target of this tree links: warnings, hardening,
# sanitizers, include roots.

option(FCVM_WERROR "Treat warnings as errors" OFF)
option(FCVM_FUZZ "Build the libFuzzer programs (needs clang)" OFF)
option(FCVM_FAULT_POINTS "Build in the fault points of tests (base/fault_point.h)" OFF)
option(FCVM_COVERAGE "Build with gcov counters" OFF)
option(FCVM_BUILD_TESTS "Build the tests" ON)
option(FCVM_VERIFY_HEADERS "Compile every public header on its own" OFF)
set(FCVM_SANITIZE "" CACHE STRING "Sanitizers to build with: 'address,undefined' or 'thread'")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()
# Line tables only: full debug information doubles the build time and the size of objects.
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")

if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(FCVM_CCACHE ccache)
  mark_as_advanced(FCVM_CCACHE)
  if(FCVM_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${FCVM_CCACHE}")
  endif()
endif()

include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)

if(FCVM_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "FCVM_FUZZ needs clang: configure with the preset 'fuzz'")
  endif()
  if(FCVM_SANITIZE)
    message(FATAL_ERROR "FCVM_FUZZ brings its own sanitizers: leave FCVM_SANITIZE empty")
  endif()
  set(FCVM_BUILD_TESTS OFF)
endif()

add_library(fcvm_compile_options INTERFACE)
target_include_directories(fcvm_compile_options INTERFACE "${PROJECT_SOURCE_DIR}"
                                                          "${PROJECT_BINARY_DIR}/generated")
target_compile_definitions(fcvm_compile_options INTERFACE _GLIBCXX_ASSERTIONS _FILE_OFFSET_BITS=64)
target_compile_options(
  fcvm_compile_options
  INTERFACE -Wall -Wextra -Wshadow -Wconversion -fstack-protector-strong -ffunction-sections
            -fdata-sections)
target_link_options(fcvm_compile_options INTERFACE -Wl,-z,relro,-z,now,--gc-sections,--as-needed)

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # g++ keeps sign conversions out of -Wconversion; one meaning for both compilers.
  target_compile_options(fcvm_compile_options INTERFACE -Wno-sign-conversion)
endif()
if(FCVM_WERROR)
  target_compile_options(fcvm_compile_options INTERFACE -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # g++ 12 sees overlapping copies in every "text" + std::string (GCC bug 105651).
    target_compile_options(fcvm_compile_options INTERFACE -Wno-restrict)
  endif()
endif()

if(FCVM_FUZZ)
  target_compile_options(fcvm_compile_options INTERFACE
                         -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(fcvm_compile_options INTERFACE -fsanitize=address,undefined)
elseif(FCVM_SANITIZE)
  target_compile_options(fcvm_compile_options INTERFACE -fsanitize=${FCVM_SANITIZE}
                         -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(fcvm_compile_options INTERFACE -fsanitize=${FCVM_SANITIZE})
else()
  # Sanitizers replace the functions FORTIFY wraps, and -O0 has none of its checks.
  target_compile_options(fcvm_compile_options INTERFACE
                         $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE>
                         $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
endif()
if(FCVM_COVERAGE)
  target_compile_options(fcvm_compile_options INTERFACE --coverage -fprofile-update=atomic)
  target_link_options(fcvm_compile_options INTERFACE --coverage)
endif()

configure_file("${PROJECT_SOURCE_DIR}/cmake/fault_points.h.in"
               "${PROJECT_BINARY_DIR}/generated/base/fault_points_built.h" @ONLY)
configure_file("${PROJECT_SOURCE_DIR}/cmake/version.h.in"
               "${PROJECT_BINARY_DIR}/generated/base/version.h" @ONLY)
