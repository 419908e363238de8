// The one place where torch's exceptions become a Status.
#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace qc2c {

// Runs `body`, which returns absl::Status or absl::StatusOr. Every public function of the model and
// fuser libraries that calls torch goes through here, so nothing throws across their edge.
// RESOURCE_EXHAUSTED if memory ran out, INTERNAL for any other exception.
template <typename Body>
auto CatchTorch(Body&& body) -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (const c10::OutOfMemoryError& e) {
    return absl::ResourceExhaustedError(
        absl::StrCat("out of device memory: ", e.what_without_backtrace()));
  } catch (const c10::Error& e) {
    return absl::InternalError(absl::StrCat("torch: ", e.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("exception: ", e.what()));
  }
}

}  // namespace qc2c
