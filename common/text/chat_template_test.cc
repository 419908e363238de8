#include "common/text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/base/files.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

class ChatTemplateTest : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& content) {
    ASSERT_TRUE(WriteFileAtomically(folder_ / name, content).ok());
  }

  // What the template makes of one message, or its status as text.
  std::string Render(const std::string& source, const RenderOptions& options = {}) {
    Write("chat_template.jinja", source);
    const auto chat_template = ChatTemplate::Load(folder_);
    if (!chat_template.ok()) return chat_template.status().ToString();
    const auto text = chat_template->Render({{"user", "Hi"}}, options);
    return text.ok() ? *text : text.status().ToString();
  }

  void TearDown() override { std::filesystem::remove_all(folder_); }

  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) /
      testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(ChatTemplateTest, FileGoesBeforeTheConfigsField) {
  Write("tokenizer_config.json", R"({"chat_template": "from the config", "eos_token": "</s>"})");
  EXPECT_EQ(*ChatTemplate::Load(folder_)->Render({{"user", "Hi"}}), "from the config");
  EXPECT_EQ(Render("from the file{{ eos_token }}"), "from the file</s>");
}

TEST_F(ChatTemplateTest, OptionsReachTheTemplate) {
  const std::string source = "{{ add_generation_prompt }} {{ enable_thinking is defined }}";
  EXPECT_EQ(Render(source), "True False");
  EXPECT_EQ(Render(source, {.add_generation_prompt = false, .enable_thinking = false}),
            "False True");
  EXPECT_EQ(Render("{{ enable_thinking is false }}", {.enable_thinking = false}), "True");
}

TEST_F(ChatTemplateTest, RefusalOfTheTemplateIsNamed) {
  const std::string status = Render("\n{{ raise_exception('no ' ~ messages[0].role) }}");
  EXPECT_THAT(status, HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(status, HasSubstr("chat_template.jinja"));
  EXPECT_THAT(status, HasSubstr("no user"));
  EXPECT_THAT(status, HasSubstr(":2)"));  // the line
}

TEST_F(ChatTemplateTest, EndlessWorkRunsOutOfSteps) {
  const std::string status = Render(
      "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}");
  EXPECT_THAT(status, HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(status, HasSubstr("more than 10000000 steps"));
}

TEST_F(ChatTemplateTest, EndlessOutputIsAnErrorNamingTheLimit) {
  const std::string kilobyte = "{% set k = '0123456789abcdef' * 64 %}";
  const std::string fits = Render(kilobyte + "{% for a in range(16384) %}{{ k }}{% endfor %}");
  EXPECT_EQ(fits.size(), size_t{16} << 20);
  EXPECT_THAT(Render(kilobyte + "{% for a in range(16384) %}{{ k }}{% endfor %}."),
              HasSubstr("more than 16777216 bytes"));
}

TEST_F(ChatTemplateTest, EndlessRecursionIsAnError) {
  EXPECT_THAT(Render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
              HasSubstr("INVALID_ARGUMENT"));
}

TEST_F(ChatTemplateTest, SyntaxErrorAndUnknownNamesAreNamed) {
  EXPECT_THAT(Render("{% for %}"), HasSubstr("syntax error"));
  EXPECT_THAT(Render("{{ messages | nope }}"), HasSubstr("nope"));
  EXPECT_THAT(Render("{{ open('/etc/passwd') }}"), HasSubstr("open"));
  EXPECT_THAT(Render("{% include '/etc/passwd' %}"), HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(Render("{{ undefined_thing.field }}"), HasSubstr("undefined"));
}

TEST_F(ChatTemplateTest, SpecialTokenOfTheWrongTypeIsNamed) {
  Write("tokenizer_config.json", R"({"bos_token": 7})");
  EXPECT_THAT(Render("x"), HasSubstr("`bos_token` is number, expected a string"));
}

TEST_F(ChatTemplateTest, ConfigThatIsNoObjectOrHasNoUsableTemplateIsNamed) {
  EXPECT_EQ(ChatTemplate::Load(folder_).status().code(), absl::StatusCode::kNotFound);
  Write("tokenizer_config.json", "{}");
  EXPECT_EQ(ChatTemplate::Load(folder_).status().code(), absl::StatusCode::kNotFound);
  for (const std::string config :
       {"[]", "{", R"({"chat_template": 3})",
        R"({"chat_template": [{"name": "tool_use", "template": "x"}]})"}) {
    Write("tokenizer_config.json", config);
    const auto loaded = ChatTemplate::Load(folder_);
    EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument) << config;
    EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("tokenizer_config.json"));
  }
}

TEST_F(ChatTemplateTest, NoMessagesAndTextThatIsNotUtf8AreRefused) {
  Write("chat_template.jinja", "x");
  const auto chat_template = ChatTemplate::Load(folder_);
  EXPECT_THAT(chat_template->Render({}).status().ToString(), HasSubstr("no messages"));
  EXPECT_THAT(chat_template->Render({{"user", "\xff"}}).status().ToString(), HasSubstr("UTF-8"));
}

}  // namespace
}  // namespace qc2c
