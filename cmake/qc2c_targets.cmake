# qc2c_library(NAME [SRCS ...] [CUDA ...] [PUBLIC ...] [PRIVATE ...])
#   Target qc2c_NAME with alias qc2c::NAME. CUDA sources are dropped without a CUDA compiler.
# qc2c_program(NAME SRCS ... DEPS ...)     An executable in the build folder's bin/.
# qc2c_test(NAME SRCS ... DEPS ...)        A GoogleTest program, registered with ctest as NAME.
# qc2c_bench(NAME SRCS ... DEPS ...)       A Google Benchmark program in bin/.
# qc2c_fixtures(NAME SCRIPT [INPUTS paths below the root ...] [VARIABLES names ...])
#   A test that has a script of tests/parity write what the tests that require the fixture NAME compare with, into
#   NAME in the build folder; from the cache if nothing of what it reads changed (keep_fixtures.py).
# Tests and benchmarks find the project's files at QC2C_SOURCE_DIR and run from the project's root. It
# is relative, so that the same program (and the same compiler cache entry) serves another checkout.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)

# Tests are compiled once and run for seconds: half of the optimizer's time would be theirs.
# At this level GCC 12's flow analysis warns of overflows in std::string that are none.
set(QC2C_TEST_OPTIONS $<$<COMPILE_LANGUAGE:CXX>:-O1>)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  foreach(warning array-bounds stringop-overflow stringop-overread restrict maybe-uninitialized)
    list(APPEND QC2C_TEST_OPTIONS $<$<COMPILE_LANGUAGE:CXX>:-Wno-${warning}>)
  endforeach()
endif()
include(precompiled_headers)

# A few sources of a target are compiled as one: what they take from headers (templates above all) is compiled
# once for all of them. Names of a target's sources must therefore differ, in unnamed namespaces too. A source
# that is edited often compiles sooner without.
option(QC2C_UNITY "Compile a few sources of a target together" ON)
set(QC2C_UNITY_SIZE 4)

# Sets RESULT to what TARGET compiles: the given sources, or sources that include a few of them each. CMake's own
# UNITY_BUILD includes them by absolute paths, which the compiler cache of another checkout would not know.
function(qc2c_unity result target)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/unity)
  set(compiled ${ARGN})
  list(FILTER compiled EXCLUDE REGEX "\\.cc$")
  set(left ${ARGN})
  list(FILTER left INCLUDE REGEX "\\.cc$")
  set(most 1)
  if(QC2C_UNITY)
    set(most ${QC2C_UNITY_SIZE})
  endif()
  while(left)
    list(SUBLIST left 0 ${most} together)
    list(REMOVE_ITEM left ${together})
    list(LENGTH together size)
    if(size GREATER 1)
      set(includes "")
      foreach(source ${together})
        file(RELATIVE_PATH source ${folder} ${CMAKE_CURRENT_SOURCE_DIR}/${source})
        string(APPEND includes "#include \"${source}\"\n")
      endforeach()
      list(GET together 0 source)
      get_filename_component(name ${source} NAME_WE)
      set(together ${folder}/${target}_from_${name}.cc)
      file(CONFIGURE OUTPUT ${together} CONTENT "${includes}")
    endif()
    list(APPEND compiled ${together})
  endwhile()
  set(${result} ${compiled} PARENT_SCOPE)
endfunction()

function(qc2c_warnings target)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall> $<$<COMPILE_LANGUAGE:CXX>:-Wextra>
    $<$<COMPILE_LANGUAGE:CXX>:-Werror> $<$<COMPILE_LANGUAGE:CXX>:-Wno-missing-field-initializers>)
  if(QC2C_UNITY)  # GCC takes unnamed namespaces of included sources for those of headers
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-subobject-linkage>)
  endif()
endfunction()

function(qc2c_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;CUDA;PUBLIC;PRIVATE" ${ARGN})
  if(QC2C_ENABLE_CUDA)
    list(APPEND ARG_SRCS ${ARG_CUDA})
  endif()
  if(ARG_SRCS)
    qc2c_unity(compiled qc2c_${name} ${ARG_SRCS})
    add_library(qc2c_${name} STATIC ${compiled})
    target_include_directories(qc2c_${name} PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(qc2c_${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
    target_compile_definitions(qc2c_${name} PRIVATE $<$<BOOL:${QC2C_ENABLE_CUDA}>:QC2C_ENABLE_CUDA>)
    qc2c_warnings(qc2c_${name})
    qc2c_precompile(qc2c_${name} library)
  else()
    add_library(qc2c_${name} INTERFACE)
    target_include_directories(qc2c_${name} INTERFACE ${PROJECT_SOURCE_DIR})
    target_link_libraries(qc2c_${name} INTERFACE ${ARG_PUBLIC})
  endif()
  add_library(qc2c::${name} ALIAS qc2c_${name})
endfunction()

function(qc2c_program name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  qc2c_unity(compiled ${name} ${ARG_SRCS})
  add_executable(${name} ${compiled})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
  qc2c_warnings(${name})
endfunction()

function(qc2c_test name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  qc2c_program(${name} SRCS ${ARG_SRCS} DEPS ${ARG_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE $<$<BOOL:${QC2C_ENABLE_CUDA}>:QC2C_ENABLE_CUDA>
                                             QC2C_SOURCE_DIR=".")
  target_compile_options(${name} PRIVATE ${QC2C_TEST_OPTIONS})
  qc2c_precompile(${name} test)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endfunction()

function(qc2c_bench name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  qc2c_program(${name} SRCS ${ARG_SRCS} DEPS ${ARG_DEPS} benchmark::benchmark)
  target_compile_definitions(${name} PRIVATE QC2C_SOURCE_DIR=".")
endfunction()

function(qc2c_fixtures name script)
  cmake_parse_arguments(ARG "" "" "INPUTS;VARIABLES" ${ARGN})
  set(parity ${PROJECT_SOURCE_DIR}/tests/parity)
  list(TRANSFORM ARG_INPUTS REPLACE "(.+)" "--input=${PROJECT_SOURCE_DIR}/\\1")
  list(TRANSFORM ARG_VARIABLES PREPEND --variable=)
  add_test(NAME ${name}
           COMMAND ${QC2C_VENV}/bin/python ${parity}/keep_fixtures.py ${parity}/${script}
                   ${CMAKE_CURRENT_BINARY_DIR}/${name} ${ARG_INPUTS} ${ARG_VARIABLES})
  set_tests_properties(${name} PROPERTIES FIXTURES_SETUP ${name})
endfunction()
