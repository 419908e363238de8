# Everything the project links, found once. Distribution packages come first; libtorch and the CUDA
# toolkit come from the Python environment that ./run prepares (QC2C_VENV).
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)  # module mode, before gRPC
find_package(gRPC CONFIG REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(yaml-cpp CONFIG REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark CONFIG REQUIRED)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_path(HTTPLIB_INCLUDE_DIR httplib.h REQUIRED)
find_library(XXHASH_LIBRARY xxhash REQUIRED)
find_path(ZSTD_INCLUDE_DIR zstd.h REQUIRED)
find_library(ZSTD_LIBRARY zstd REQUIRED)
find_library(HTTPLIB_LIBRARY NAMES cpp-httplib)

add_library(zstd INTERFACE)
target_link_libraries(zstd INTERFACE ${ZSTD_LIBRARY})
target_include_directories(zstd SYSTEM INTERFACE ${ZSTD_INCLUDE_DIR})
add_library(xxhash INTERFACE)
target_link_libraries(xxhash INTERFACE ${XXHASH_LIBRARY})

add_library(httplib INTERFACE)
target_link_libraries(httplib INTERFACE Threads::Threads)
if(HTTPLIB_LIBRARY)  # Debian compiles it; elsewhere it is a header alone
  target_link_libraries(httplib INTERFACE ${HTTPLIB_LIBRARY})
endif()

set(QC2C_VENV "" CACHE PATH "Python environment with torch and the CUDA toolkit wheels")
if(QC2C_VENV)
  file(GLOB QC2C_SITE ${QC2C_VENV}/lib/python3.*/site-packages)
endif()

if(QC2C_ENABLE_CUDA)
  if(QC2C_VENV AND NOT CMAKE_CUDA_COMPILER AND EXISTS ${QC2C_SITE}/nvidia/cu13/bin/nvcc)
    set(CMAKE_CUDA_COMPILER ${QC2C_SITE}/nvidia/cu13/bin/nvcc)
    set(CUDAToolkit_ROOT ${QC2C_SITE}/nvidia/cu13)
  endif()
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90)
  endif()
  find_file(CUDART_LIBRARY NAMES libcudart.so.13
            HINTS ${CUDAToolkit_ROOT}/lib /usr/local/cuda/lib64 NO_CACHE REQUIRED)
  # The wheel has no unversioned link name for the runtime and no lib64, where nvcc looks.
  get_filename_component(cuda_lib ${CUDART_LIBRARY} DIRECTORY)
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/cudart)
  file(CREATE_LINK ${CUDART_LIBRARY} ${PROJECT_BINARY_DIR}/cudart/libcudart.so SYMBOLIC)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
  set(CMAKE_CUDA_FLAGS_INIT "-L${PROJECT_BINARY_DIR}/cudart -L${cuda_lib}")
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 20)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 knows nvcc up to C++17
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  add_library(cudart INTERFACE)
  target_link_libraries(cudart INTERFACE ${CUDART_LIBRARY})
  target_include_directories(cudart SYSTEM INTERFACE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
endif()

if(QC2C_ENABLE_TORCH)
  set(TORCH_ROOT ${QC2C_SITE}/torch CACHE PATH "The torch folder of the Python package")
  if(NOT EXISTS ${TORCH_ROOT}/lib/libtorch.so)
    message(FATAL_ERROR "no libtorch at ${TORCH_ROOT}: run ./run build, or pass -DQC2C_VENV=DIR")
  endif()
  # Not find_package(Torch): its include folders carry older protobuf and newer fmt headers, which
  # must come after the system's.
  add_library(torch INTERFACE)
  target_link_options(torch INTERFACE "LINKER:--no-as-needed")
  # libtorch.so exports its own std::filesystem functions, of which remove_all and others call through
  # a null pointer. The compiler's library must come first, so that its functions are the ones found.
  target_link_libraries(torch INTERFACE stdc++)
  foreach(lib torch torch_cpu torch_cuda c10 c10_cuda)
    if(EXISTS ${TORCH_ROOT}/lib/lib${lib}.so)
      target_link_libraries(torch INTERFACE ${TORCH_ROOT}/lib/lib${lib}.so)
    endif()
  endforeach()
  # ATen/ops/NAME.h instead of ATen/ATen.h: a fraction of the time to compile.
  target_compile_definitions(torch INTERFACE AT_PER_OPERATOR_HEADERS)
  target_compile_options(
    torch
    INTERFACE
      "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${TORCH_ROOT}/include -idirafter ${TORCH_ROOT}/include/torch/csrc/api/include>"
  )
endif()
