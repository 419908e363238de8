#include "receiver/prefix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "receiver/served_receiver.h"

namespace qc2c {
namespace {

using testing::AllOf;
using testing::ElementsAreArray;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

v1::Prompt PlainPrompt(const std::string& text) {
  v1::Prompt prompt;
  prompt.set_text(text);
  return prompt;
}

Ids Joined(const PrefixedPrompt& prefixed) {
  Ids ids = prefixed.context_ids;
  ids.insert(ids.end(), prefixed.prompt_ids.begin(), prefixed.prompt_ids.end());
  return ids;
}

TEST(SplitAtContextTest, TheHalvesAreTheTokensOfTheWholeText) {
  const LanguageModel& model = EmbeddedReceiver();
  const std::string context = "The city is Boston.\n";
  for (const v1::Prompt& prompt : {PlainPrompt(kQuestion), UserPrompt(kQuestion, "Answer:")}) {
    const PrefixedPrompt prefixed = SplitAtContext(model, context, prompt, 0).value();
    const std::string whole = context + model.Render(prompt).value();
    EXPECT_THAT(Joined(prefixed), ElementsAreArray(model.tokenizer.Encode(whole).value()));
    EXPECT_THAT(prefixed.context_ids, ElementsAreArray(model.tokenizer.Encode(context).value()));
  }
}

TEST(SplitAtContextTest, ATokenOfBothBelongsToThePrompt) {
  const LanguageModel& model = EmbeddedReceiver();
  // " Bos" + "ton": one token of both, for " Boston" is a token of the embedded vocabulary.
  const Ids boston = model.tokenizer.Encode("The city Boston").value();
  const PrefixedPrompt prefixed =
      SplitAtContext(model, "The city Bos", PlainPrompt("ton"), 0).value();
  EXPECT_EQ(Joined(prefixed), boston);
  EXPECT_THAT(prefixed.prompt_ids, ElementsAreArray({boston.back()}));
}

TEST(SplitAtContextTest, AContextWithoutATokenAndOneThatDoesNotFitAreRefused) {
  const auto refusal = [](const std::string& context, const std::string& text) {
    const absl::Status status =
        SplitAtContext(EmbeddedReceiver(), context, PlainPrompt(text), 1).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(refusal(" Bos", "ton"), HasSubstr("no token of its own"));
  std::string context;
  for (int i = 0; i < 512; ++i) context += " Boston";
  EXPECT_THAT(refusal(context, kQuestion), HasSubstr("512 positions"));
}

TEST(CheckSameModelTest, AnotherModelOrTokenizerIsNamed) {
  v1::ModelCard receiver, sharer;
  receiver.set_model("r");
  receiver.set_model_fingerprint(0xa1);
  receiver.set_tokenizer_hash(5);
  sharer = receiver;
  sharer.set_model("s");
  EXPECT_TRUE(CheckSameModel(receiver, sharer).ok());
  sharer.set_tokenizer_hash(6);
  EXPECT_THAT(std::string(CheckSameModel(receiver, sharer).message()),
              AllOf(HasSubstr("tokenizer_hash"), HasSubstr("0000000000000006")));
  sharer.set_model_fingerprint(0xb2);
  const absl::Status status = CheckSameModel(receiver, sharer);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("MODE_PREFIX"), HasSubstr("'r' is 00000000000000a1"),
                    HasSubstr("'s' 00000000000000b2")));
}

}  // namespace
}  // namespace qc2c
