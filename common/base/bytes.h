// Byte spans, and arithmetic that reports overflow instead of wrapping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>

namespace qc2c {

using ByteSpan = std::span<const uint8_t>;   // borrowed, read-only
using MutableByteSpan = std::span<uint8_t>;  // borrowed, written by the callee

// The product of all factors, or nothing if it does not fit in 64 bits. Sizes that come from a file
// or from the network are multiplied with this and with nothing else.
std::optional<uint64_t> CheckedProduct(std::initializer_list<uint64_t> factors);

// Lower-case hexadecimal, two digits a byte.
std::string ToHex(ByteSpan bytes);

// The bytes of a string. The result borrows: `text` must outlive it.
inline ByteSpan AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace qc2c
