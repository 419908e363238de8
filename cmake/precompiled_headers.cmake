# qc2c_precompile(TARGET KIND)   KIND is library or test. The headers that cost most (libtorch's, gRPC's,
#   GoogleTest's, the standard library's) are parsed once for all targets of a kind: they are most of what
#   a source costs to compile. A precompiled header is good for one set of options alone, so there are four.
option(QC2C_PRECOMPILE "Parse common headers once for many sources" ON)

# Whether a target links `name`, by whatever way.
function(qc2c_links target name result)
  set(${result} FALSE PARENT_SCOPE)
  set(seen "")
  set(left ${target})
  while(left)
    list(POP_FRONT left next)
    if(next STREQUAL name)
      set(${result} TRUE PARENT_SCOPE)
      return()
    endif()
    if(NOT TARGET ${next} OR next IN_LIST seen)
      continue()
    endif()
    list(APPEND seen ${next})
    foreach(property LINK_LIBRARIES INTERFACE_LINK_LIBRARIES)
      get_target_property(libraries ${next} ${property})
      if(libraries)
        list(APPEND left ${libraries})
      endif()
    endforeach()
  endwhile()
endfunction()

function(qc2c_precompiled_headers name)
  cmake_parse_arguments(ARG "" "" "HEADERS;LINKS;OPTIONS" ${ARGN})
  set(folder ${PROJECT_SOURCE_DIR}/cmake/precompiled)
  add_library(${name} OBJECT ${folder}/empty.cc)
  target_link_libraries(${name} PRIVATE ${ARG_LINKS})
  target_compile_options(${name} PRIVATE ${ARG_OPTIONS})
  target_compile_options(${name} PRIVATE ${QC2C_PRECOMPILE_OPTIONS})
  # Quoted, they are found below the project's root: no absolute path, which another checkout would not share.
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  list(TRANSFORM ARG_HEADERS REPLACE "(.+)" "\"cmake/precompiled/\\1\"")
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()

# ccache follows a precompiled header only where preprocessing keeps it.
set(QC2C_PRECOMPILE_OPTIONS $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)

if(QC2C_PRECOMPILE)
  set(standard absl::status absl::statusor absl::strings)
  set(test GTest::gmock GTest::gtest)
  qc2c_precompiled_headers(precompiled_library_standard HEADERS standard.h LINKS ${standard})
  # Executables are compiled with -fPIE, object libraries with -fPIC: the last one counts.
  qc2c_precompiled_headers(precompiled_test_standard HEADERS standard.h test.h LINKS ${standard} ${test}
                           OPTIONS ${QC2C_TEST_OPTIONS} -fPIE)
  if(QC2C_ENABLE_TORCH)
    set(torch torch gRPC::grpc++ nlohmann_json::nlohmann_json)
    qc2c_precompiled_headers(precompiled_library_torch HEADERS standard.h torch.h
                             LINKS ${standard} ${torch})
    qc2c_precompiled_headers(precompiled_test_torch HEADERS standard.h torch.h test.h
                             LINKS ${standard} ${torch} ${test} OPTIONS ${QC2C_TEST_OPTIONS} -fPIE)
  endif()
endif()

function(qc2c_precompile target kind)
  if(NOT QC2C_PRECOMPILE)
    return()
  endif()
  target_compile_options(${target} PRIVATE ${QC2C_PRECOMPILE_OPTIONS})
  qc2c_links(${target} torch with_torch)
  if(with_torch)
    target_precompile_headers(${target} REUSE_FROM precompiled_${kind}_torch)
  else()
    target_precompile_headers(${target} REUSE_FROM precompiled_${kind}_standard)
  endif()
endfunction()
