#include "common/fuser/pickle_reader.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/fuser/pickle_opcodes.h"

namespace qc2c {
namespace {

constexpr uint8_t kProtocol = 2;
constexpr size_t kMaxQuotedBytes = 60;  // a hostile file must not flood the log
constexpr size_t kMaxRank = 16;
// torch writes a number. Each use of a storage copies its key.
constexpr size_t kMaxStorageKey = 64;

enum class Kind : uint8_t {
  kMark,
  kGlobal,  // text: module and name
  kText,
  kInt,
  kBool,
  kTuple,
  kDict,  // items: keys and values in turn
  kStorage,
  kTensor,
};

// Values refer to each other by their place in the machine's list and are never freed before it, so
// neither a deep nesting nor a cycle costs recursion.
using Id = size_t;

struct Value {
  Kind kind = Kind::kMark;
  std::string text;
  int64_t number = 0;
  std::vector<Id> items;
  PickledTensor tensor;  // of kStorage only dtype, storage and storage_elements
};

std::string Quoted(const std::string& text) {
  const bool is_long = text.size() > kMaxQuotedBytes;
  return absl::CHexEscape(text.substr(0, kMaxQuotedBytes)) + (is_long ? "..." : "");
}

std::optional<at::ScalarType> StorageDtype(const std::string& global) {
  if (global == "torch.FloatStorage") return at::kFloat;
  if (global == "torch.HalfStorage") return at::kHalf;
  if (global == "torch.BFloat16Storage") return at::kBFloat16;
  return std::nullopt;
}

constexpr char kOrderedDict[] = "collections.OrderedDict";
constexpr char kRebuildTensor[] = "torch._utils._rebuild_tensor_v2";

class Machine {
 public:
  explicit Machine(ByteSpan pickle) : pickle_(pickle) {}

  absl::StatusOr<std::vector<PickledTensor>> Run() {
    Op op = Op::kProto;
    do {
      op_at_ = at_;
      ASSIGN_OR_RETURN(const uint8_t code, Number<uint8_t>());
      op = static_cast<Op>(code);
      if (op_at_ == 0 && op != Op::kProto) return Fault("it does not begin with PROTO");
      RETURN_IF_ERROR(Step(op));
    } while (op != Op::kStop);
    if (at_ != pickle_.size()) return Fault("bytes follow STOP");
    return Tensors();
  }

 private:
  absl::Status Fault(const std::string& what) const {
    return absl::InvalidArgumentError(absl::StrCat("pickle, byte ", op_at_, ": ", what));
  }

  template <typename T>
  absl::StatusOr<T> Number() {
    if (sizeof(T) > pickle_.size() - at_) return Fault("it ends in the middle");
    T value;
    std::memcpy(&value, pickle_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  absl::StatusOr<std::string> Text(size_t bytes) {
    if (bytes > pickle_.size() - at_) return Fault("it ends in the middle");
    const ByteSpan text = pickle_.subspan(at_, bytes);
    at_ += bytes;
    return std::string(text.begin(), text.end());
  }

  absl::StatusOr<std::string> Line() {
    const auto begin = pickle_.begin() + static_cast<std::ptrdiff_t>(at_);
    const auto end = std::find(begin, pickle_.end(), '\n');
    if (end == pickle_.end()) return Fault("it ends in the middle");
    ASSIGN_OR_RETURN(std::string line, Text(static_cast<size_t>(end - begin)));
    ++at_;
    return line;
  }

  absl::Status Push(Value value) {
    stack_.push_back(values_.size());
    values_.push_back(std::move(value));
    return absl::OkStatus();
  }
  absl::Status PushInt(int64_t number) { return Push({.kind = Kind::kInt, .number = number}); }

  // The topmost value, taken off. A mark is no value.
  absl::StatusOr<Id> Pop() {
    if (stack_.empty() || values_[stack_.back()].kind == Kind::kMark) {
      return Fault("it takes a value that is not there");
    }
    const Id top = stack_.back();
    stack_.pop_back();
    return top;
  }

  // The values above the topmost mark, taken off with it.
  absl::StatusOr<std::vector<Id>> PopToMark() {
    size_t begin = stack_.size();
    while (begin > 0 && values_[stack_[begin - 1]].kind != Kind::kMark) --begin;
    if (begin == 0) return Fault("it takes a mark that is not there");
    std::vector<Id> items(stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin - 1);
    return items;
  }

  absl::Status Step(Op op) {
    switch (op) {
      case Op::kProto:
        return CheckProtocol();
      case Op::kGlobal:
        return PushGlobal();
      case Op::kBinUnicode:
        return PushText();
      case Op::kBinInt:
        return PushNumber<int32_t>();
      case Op::kBinInt1:
        return PushNumber<uint8_t>();
      case Op::kBinInt2:
        return PushNumber<uint16_t>();
      case Op::kNewTrue:
      case Op::kNewFalse:
        return Push({.kind = Kind::kBool, .number = op == Op::kNewTrue ? 1 : 0});
      case Op::kMark:
        return Push({.kind = Kind::kMark});
      case Op::kEmptyTuple:
        return Push({.kind = Kind::kTuple});
      case Op::kTuple1:
      case Op::kTuple2:
      case Op::kTuple3:
        return PushTuple(1 + static_cast<size_t>(op) - static_cast<size_t>(Op::kTuple1));
      case Op::kTuple:
        return PushMarkedTuple();
      case Op::kEmptyDict:
        return Push({.kind = Kind::kDict});
      case Op::kSetItem:
        return SetItem();
      case Op::kSetItems:
        return SetItems();
      case Op::kBinPut:
        return Put<uint8_t>();
      case Op::kLongBinPut:
        return Put<uint32_t>();
      case Op::kBinGet:
        return Get<uint8_t>();
      case Op::kLongBinGet:
        return Get<uint32_t>();
      case Op::kBinPersId:
        return PushStorage();
      case Op::kReduce:
        return Reduce();
      case Op::kBuild:
        return Build();
      case Op::kStop:
        return absl::OkStatus();
    }
    return Fault(absl::StrCat("opcode ", OpcodeName(static_cast<uint8_t>(op)),
                              " has no place in a state dict"));
  }

  absl::Status CheckProtocol() {
    ASSIGN_OR_RETURN(const uint8_t protocol, Number<uint8_t>());
    if (protocol == kProtocol) return absl::OkStatus();
    return Fault(absl::StrCat("protocol ", protocol, ": expected ", kProtocol));
  }

  absl::Status PushGlobal() {
    ASSIGN_OR_RETURN(const std::string module, Line());
    ASSIGN_OR_RETURN(const std::string name, Line());
    const std::string global = absl::StrCat(module, ".", name);
    if (global != kOrderedDict && global != kRebuildTensor && !StorageDtype(global)) {
      return Fault(absl::StrCat("global ", Quoted(global), " has no place in a state dict"));
    }
    return Push({.kind = Kind::kGlobal, .text = global});
  }

  absl::Status PushText() {
    ASSIGN_OR_RETURN(const uint32_t bytes, Number<uint32_t>());
    ASSIGN_OR_RETURN(std::string text, Text(bytes));
    return Push({.kind = Kind::kText, .text = std::move(text)});
  }

  template <typename T>
  absl::Status PushNumber() {
    ASSIGN_OR_RETURN(const T number, Number<T>());
    return PushInt(number);
  }

  absl::Status PushTuple(size_t size) {
    std::vector<Id> items(size);
    for (size_t i = size; i-- > 0;) {
      ASSIGN_OR_RETURN(items[i], Pop());
    }
    return Push({.kind = Kind::kTuple, .items = std::move(items)});
  }

  absl::Status PushMarkedTuple() {
    ASSIGN_OR_RETURN(std::vector<Id> items, PopToMark());
    return Push({.kind = Kind::kTuple, .items = std::move(items)});
  }

  absl::Status AddToDict(const std::vector<Id>& items) {
    if (items.size() % 2 != 0) return Fault("a key has no value");
    if (stack_.empty() || values_[stack_.back()].kind != Kind::kDict) {
      return Fault("it sets items of something that is no dict");
    }
    std::vector<Id>& own = values_[stack_.back()].items;
    own.insert(own.end(), items.begin(), items.end());
    return absl::OkStatus();
  }

  absl::Status SetItem() {
    ASSIGN_OR_RETURN(const Id value, Pop());
    ASSIGN_OR_RETURN(const Id key, Pop());
    return AddToDict({key, value});
  }

  absl::Status SetItems() {
    ASSIGN_OR_RETURN(const std::vector<Id> items, PopToMark());
    return AddToDict(items);
  }

  template <typename T>
  absl::Status Put() {
    ASSIGN_OR_RETURN(const T place, Number<T>());
    if (stack_.empty() || values_[stack_.back()].kind == Kind::kMark) {
      return Fault("it keeps a value that is not there");
    }
    memo_[place] = stack_.back();
    return absl::OkStatus();
  }

  template <typename T>
  absl::Status Get() {
    ASSIGN_OR_RETURN(const T place, Number<T>());
    const auto it = memo_.find(place);
    if (it == memo_.end()) return Fault(absl::StrCat("nothing is kept at place ", place));
    stack_.push_back(it->second);
    return absl::OkStatus();
  }

  bool Is(const std::vector<Id>& items, const std::vector<Kind>& kinds) const {
    return std::equal(items.begin(), items.end(), kinds.begin(), kinds.end(),
                      [&](Id item, Kind kind) { return values_[item].kind == kind; });
  }

  // ('storage', storage class, key, device, number of elements). The device is where it was saved.
  absl::Status PushStorage() {
    ASSIGN_OR_RETURN(const Id id, Pop());
    const std::vector<Id>& items = values_[id].items;
    const bool is_storage =
        values_[id].kind == Kind::kTuple &&
        Is(items, {Kind::kText, Kind::kGlobal, Kind::kText, Kind::kText, Kind::kInt}) &&
        values_[items[0]].text == "storage" && values_[items[4]].number >= 0;
    const auto dtype =
        is_storage ? StorageDtype(values_[items[1]].text) : std::optional<at::ScalarType>();
    if (!dtype) return Fault("a persistent id that is no storage");
    const std::string& key = values_[items[2]].text;
    if (key.size() > kMaxStorageKey) {
      return Fault(absl::StrCat("a storage key of ", key.size(), " bytes: expected at most ",
                                kMaxStorageKey));
    }
    return Push(
        {.kind = Kind::kStorage,
         .tensor = {
             .dtype = *dtype, .storage = key, .storage_elements = values_[items[4]].number}});
  }

  absl::Status Reduce() {
    ASSIGN_OR_RETURN(const Id arguments, Pop());
    ASSIGN_OR_RETURN(const Id function, Pop());
    if (values_[arguments].kind != Kind::kTuple || values_[function].kind != Kind::kGlobal) {
      return Fault("REDUCE of something that is no function and its arguments");
    }
    const std::string& name = values_[function].text;
    const std::vector<Id> items = values_[arguments].items;
    if (name == kOrderedDict && items.empty()) return Push({.kind = Kind::kDict});
    if (name == kRebuildTensor) return PushTensor(items);
    return Fault(absl::StrCat("a call of ", name, " with ", items.size(), " arguments"));
  }

  // Non-negative integers of a tuple, or nothing.
  std::optional<std::vector<int64_t>> Ints(Id tuple) const {
    std::vector<int64_t> ints;
    for (const Id item : values_[tuple].items) {
      if (values_[item].kind != Kind::kInt || values_[item].number < 0) return std::nullopt;
      ints.push_back(values_[item].number);
    }
    if (ints.size() > kMaxRank) return std::nullopt;
    return ints;
  }

  // _rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, backward_hooks)
  absl::Status PushTensor(const std::vector<Id>& items) {
    const bool has_kinds = Is(
        items, {Kind::kStorage, Kind::kInt, Kind::kTuple, Kind::kTuple, Kind::kBool, Kind::kDict});
    const auto sizes = has_kinds ? Ints(items[2]) : std::nullopt;
    const auto strides = has_kinds ? Ints(items[3]) : std::nullopt;
    if (!sizes || !strides || values_[items[1]].number < 0 || !values_[items[5]].items.empty()) {
      return Fault("a tensor that is not (storage, offset, sizes, strides, bool, no hooks)");
    }
    Value value{.kind = Kind::kTensor, .tensor = values_[items[0]].tensor};
    value.tensor.offset = values_[items[1]].number;
    value.tensor.sizes = *sizes;
    if (!IsRowMajor(*sizes, *strides)) return Fault("a tensor whose strides are not row-major");
    return Push(std::move(value));
  }

  static bool IsRowMajor(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides) {
    if (sizes.size() != strides.size()) return false;
    std::optional<uint64_t> expected = 1;
    for (size_t i = sizes.size(); i-- > 0;) {
      if (sizes[i] > 1 && (!expected || static_cast<uint64_t>(strides[i]) != *expected)) {
        return false;
      }
      // As torch counts strides: an empty axis takes one place.
      const auto size = static_cast<uint64_t>(std::max<int64_t>(sizes[i], 1));
      if (expected) expected = CheckedProduct({*expected, size});
    }
    return true;
  }

  // The attributes of a dict (its _metadata) say nothing about tensors.
  absl::Status Build() {
    ASSIGN_OR_RETURN(const Id state, Pop());
    if (!stack_.empty() && Is({state, stack_.back()}, {Kind::kDict, Kind::kDict})) {
      return absl::OkStatus();
    }
    return Fault("BUILD of something that is no dict with attributes");
  }

  absl::StatusOr<std::vector<PickledTensor>> Tensors() {
    if (stack_.size() != 1 || values_[stack_[0]].kind != Kind::kDict) {
      return Fault("the result is not one dict");
    }
    const std::vector<Id>& items = values_[stack_[0]].items;
    std::vector<PickledTensor> tensors;
    std::set<std::string> names;
    for (size_t i = 0; i < items.size(); i += 2) {
      if (values_[items[i]].kind != Kind::kText) return Fault("a key of the dict is no text");
      const std::string& name = values_[items[i]].text;
      if (values_[items[i + 1]].kind != Kind::kTensor) {
        return Fault(absl::StrCat("\"", Quoted(name), "\" is no tensor"));
      }
      if (!names.insert(name).second) {
        return Fault(absl::StrCat("tensor ", Quoted(name), " is there twice"));
      }
      tensors.push_back(values_[items[i + 1]].tensor);
      tensors.back().name = name;
    }
    return tensors;
  }

  ByteSpan pickle_;
  size_t at_ = 0;
  size_t op_at_ = 0;  // where the opcode in work begins
  std::vector<Value> values_;
  std::vector<Id> stack_;
  std::unordered_map<uint64_t, Id> memo_;
};

}  // namespace

absl::StatusOr<std::vector<PickledTensor>> ReadPickledStateDict(ByteSpan pickle) {
  return Machine(pickle).Run();
}

}  // namespace qc2c
