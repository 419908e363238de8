// The letter that a free answer means, by the rules of the public C2C evaluation (`generate` of
// github.com/thu-nics/C2C), in their order:
//   1. After "Answer:", "The answer is", "Correct answer is" and nine more such openings, in a
//   fixed
//      order: the first upper-case A to D in the rest of that line.
//   2. The last letter that stands alone and ends the text or is followed by punctuation.
//   3. The last letter that stands alone at all; the article "a" counts.
//   4. The last upper-case A to D anywhere, even inside a word.
// Rules 2 and 3 do not trust letters in a text that looks like mathematics.
#pragma once

#include <optional>
#include <string>

namespace qc2c {

// "A" to "D"; nothing if there is none.
std::optional<std::string> ExtractLetter(const std::string& text);

}  // namespace qc2c
