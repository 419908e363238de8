#include "common/codec/klt_codebooks.h"

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"

namespace qc2c {

absl::StatusOr<KltCodebooks> KltCodebooks::Load(const std::vector<std::string>& paths,
                                                uint64_t sharer_fingerprint) {
  KltCodebooks books;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(KltCodebook book, KltCodebook::Load(path));
    if (book.sharer_fingerprint != sharer_fingerprint) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": made for a sharer '", book.sharer_model, "' of fingerprint ",
                       HashText(book.sharer_fingerprint), ": the sharer's model is ",
                       HashText(sharer_fingerprint)));
    }
    if (books.Find(book.id) != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": this codebook is given twice"));
    }
    books.books_.push_back(std::make_unique<const KltCodebook>(std::move(book)));
  }
  return books;
}

const KltCodebook* KltCodebooks::Find(uint64_t id) const {
  for (const auto& book : books_) {
    if (book->id == id) return book.get();
  }
  return nullptr;
}

absl::StatusOr<const KltCodebook*> KltCodebooks::Get(const KltChoice& choice) const {
  const KltCodebook* book = Find(choice.codebook);
  if (book == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("codec: codebook is ", HashText(choice.codebook),
                     ", which is not loaded: there is ", IdsText()));
  }
  if (choice.level) RETURN_IF_ERROR(book->CheckLevel(*choice.level));
  return book;
}

std::vector<uint64_t> KltCodebooks::ids() const {
  std::vector<uint64_t> ids;
  for (const auto& book : books_) ids.push_back(book->id);
  return ids;
}

std::string KltCodebooks::IdsText() const {
  std::string text;
  for (const auto& book : books_) {
    absl::StrAppend(&text, text.empty() ? "" : ",", HashText(book->id));
  }
  return text.empty() ? "none" : text;
}

}  // namespace qc2c
