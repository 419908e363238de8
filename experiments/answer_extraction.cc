#include "experiments/answer_extraction.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "absl/strings/ascii.h"

namespace qc2c {
namespace {

// In the order in which they are tried. "Correct answer is:" finds what the one before it does not:
// a letter on the line below the colon.
constexpr std::string_view kOpenings[] = {
    "answer:",         "your answer:", "the answer is", "correct answer is", "correct answer is:",
    "correct answer:", "jibu lako:",   "jibu:",         "jibu sahihi:",      "response:",
    "choice:",         "option:"};

bool IsLetter(char c) {
  const char upper = absl::ascii_toupper(static_cast<unsigned char>(c));
  return upper >= 'A' && upper <= 'D';
}

bool IsSpace(char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); }

bool IsPunctuation(char c) { return std::string_view(".,!?:)").find(c) != std::string_view::npos; }

std::string Upper(char c) {
  return std::string(1, absl::ascii_toupper(static_cast<unsigned char>(c)));
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  absl::AsciiStrToLower(&lower);
  return lower;
}

// Whether the character that has the byte at `i` continues a word, as Python's \w sees it: beyond
// ASCII everything does but the blocks of punctuation, such as quotation marks and dashes.
bool IsWord(std::string_view text, size_t i) {
  const auto byte = static_cast<unsigned char>(text[i]);
  if (byte < 0x80) return absl::ascii_isalnum(byte) || byte == '_';
  size_t begin = i;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80) --begin;
  const std::string_view character = text.substr(begin, 2);
  const bool is_general_punctuation = character == "\xe2\x80" || character == "\xe2\x81";  // U+20xx
  const bool is_cjk_punctuation = character == "\xe3\x80";                                 // U+30xx
  const bool is_latin1_sign = character[0] == '\xc2';  // U+0080 to U+00BF
  return !is_general_punctuation && !is_cjk_punctuation && !is_latin1_sign;
}

bool StartsWord(std::string_view text, size_t i) { return i == 0 || !IsWord(text, i - 1); }
bool EndsWord(std::string_view text, size_t i) {
  return i + 1 == text.size() || !IsWord(text, i + 1);
}

size_t SkipSpace(std::string_view text, size_t i) {
  while (i < text.size() && IsSpace(text[i])) ++i;
  return i;
}

std::optional<std::string> AfterOpening(std::string_view text) {
  const std::string lower = Lower(text);
  for (const std::string_view opening : kOpenings) {
    const size_t found = lower.find(opening);
    if (found == std::string::npos) continue;
    const std::string_view rest = text.substr(SkipSpace(text, found + opening.size()));
    for (const char c : rest.substr(0, rest.find('\n'))) {
      if (c >= 'A' && c <= 'D') return std::string(1, c);
    }
  }
  return std::nullopt;
}

bool ContainsAny(std::string_view text, std::initializer_list<std::string_view> parts) {
  return std::ranges::any_of(
      parts, [&](std::string_view part) { return text.find(part) != std::string_view::npos; });
}

// A letter in such a text is more likely a variable than an answer.
bool LooksLikeMathematics(std::string_view text) {
  return ContainsAny(text, {"+", "-", "*", "/", "=", "^", "mod", "sqrt", "sin", "cos", "tan"}) &&
         !ContainsAny(Lower(text),
                      {"jibu", "answer", "choice", "option", "response", "correct", "sahihi"});
}

// The last letter for which `fits(position)`.
template <typename Fits>
std::optional<std::string> LastLetter(std::string_view text, Fits fits) {
  for (size_t i = text.size(); i-- > 0;) {
    if (IsLetter(text[i]) && fits(i)) return Upper(text[i]);
  }
  return std::nullopt;
}

std::optional<std::string> MarkedLetter(std::string_view text) {
  // At the end, with at most one punctuation mark after it.
  const auto ends_text = [&](size_t i) {
    size_t next = SkipSpace(text, i + 1);
    if (next < text.size() && IsPunctuation(text[next])) next = SkipSpace(text, next + 1);
    return StartsWord(text, i) && next == text.size();
  };
  const auto is_punctuated = [&](size_t i) {
    const size_t next = SkipSpace(text, i + 1);
    return StartsWord(text, i) && next + 1 < text.size() && IsPunctuation(text[next]) &&
           IsSpace(text[next + 1]);
  };
  if (auto letter = LastLetter(text, ends_text)) return letter;
  return LastLetter(text, is_punctuated);
}

}  // namespace

std::optional<std::string> ExtractLetter(const std::string& answer) {
  const auto is_space = [](char c) { return IsSpace(c); };
  const auto begin = std::ranges::find_if_not(answer, is_space);
  const auto end = std::find_if_not(answer.rbegin(), answer.rend(), is_space).base();
  if (begin >= end) return std::nullopt;
  const std::string text(begin, end);
  if (auto letter = AfterOpening(text)) return letter;
  const bool is_mathematics = LooksLikeMathematics(text);
  if (!is_mathematics) {
    if (auto letter = MarkedLetter(text)) return letter;
  }
  const auto alone =
      LastLetter(text, [&](size_t i) { return StartsWord(text, i) && EndsWord(text, i); });
  if (alone) return is_mathematics ? std::nullopt : alone;
  return LastLetter(text, [&](size_t i) { return text[i] <= 'D'; });
}

}  // namespace qc2c
