#include "common/fuser/pickle_opcodes.h"

#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

struct Named {
  uint8_t code;
  const char* name;
};

// Python's opcodes, those of Op left out: only a refusal asks for a name.
constexpr Named kRefused[] = {{'0', "POP"},
                              {'1', "POP_MARK"},
                              {'2', "DUP"},
                              {'F', "FLOAT"},
                              {'G', "BINFLOAT"},
                              {'I', "INT"},
                              {'L', "LONG"},
                              {'N', "NONE"},
                              {'P', "PERSID"},
                              {'S', "STRING"},
                              {'T', "BINSTRING"},
                              {'U', "SHORT_BINSTRING"},
                              {'V', "UNICODE"},
                              {'B', "BINBYTES"},
                              {'C', "SHORT_BINBYTES"},
                              {'a', "APPEND"},
                              {'d', "DICT"},
                              {'e', "APPENDS"},
                              {'g', "GET"},
                              {'i', "INST"},
                              {'l', "LIST"},
                              {'o', "OBJ"},
                              {'p', "PUT"},
                              {']', "EMPTY_LIST"},
                              {0x81, "NEWOBJ"},
                              {0x82, "EXT1"},
                              {0x83, "EXT2"},
                              {0x84, "EXT4"},
                              {0x8a, "LONG1"},
                              {0x8b, "LONG4"},
                              {0x8c, "SHORT_BINUNICODE"},
                              {0x8d, "BINUNICODE8"},
                              {0x8e, "BINBYTES8"},
                              {0x8f, "EMPTY_SET"},
                              {0x90, "ADDITEMS"},
                              {0x91, "FROZENSET"},
                              {0x92, "NEWOBJ_EX"},
                              {0x93, "STACK_GLOBAL"},
                              {0x94, "MEMOIZE"},
                              {0x95, "FRAME"},
                              {0x96, "BYTEARRAY8"},
                              {0x97, "NEXT_BUFFER"},
                              {0x98, "READONLY_BUFFER"}};

}  // namespace

std::string OpcodeName(uint8_t code) {
  const std::string hex = absl::StrCat("0x", absl::Hex(code, absl::kZeroPad2));
  for (const Named& named : kRefused) {
    if (named.code == code) return absl::StrCat(named.name, " (", hex, ")");
  }
  return hex;
}

}  // namespace qc2c
