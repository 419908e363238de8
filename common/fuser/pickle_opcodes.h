// The opcodes of Python's pickle, named as in its pickletools.
#pragma once

#include <cstdint>
#include <string>

namespace qc2c {

// Those that a state dict saved with protocol 2 needs.
enum class Op : uint8_t {
  kProto = 0x80,
  kGlobal = 'c',
  kBinUnicode = 'X',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kMark = '(',
  kEmptyTuple = ')',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kTuple = 't',
  kEmptyDict = '}',
  kSetItem = 's',
  kSetItems = 'u',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBuild = 'b',
  kStop = '.',
};

// "INST (0x69)", for any byte; without the name if Python has no such opcode.
std::string OpcodeName(uint8_t code);

}  // namespace qc2c
