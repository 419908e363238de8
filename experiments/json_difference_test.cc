#include "experiments/json_difference.h"

#include <gtest/gtest.h>

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

std::string Difference(const char* before, const char* now) {
  return JsonDifference(Json::parse(before), Json::parse(now));
}

TEST(JsonDifferenceTest, NamesTheFieldAndBothValues) {
  EXPECT_EQ(Difference(R"({"a": 1, "b": {"c": "x"}})", R"({"a": 1, "b": {"c": "y"}})"),
            R"(b.c was "x", is now "y")");
  EXPECT_EQ(Difference(R"({"a": [{"b": 1}, {"b": 2}]})", R"({"a": [{"b": 1}, {"b": 3}]})"),
            "a[1].b was 2, is now 3");
  EXPECT_EQ(Difference(R"({"a": [1]})", R"({"a": [1, 2]})"), "a was [1], is now [1,2]");
  EXPECT_EQ(Difference(R"({"a": {"b": 1}})", R"({"a": 1})"), R"(a was {"b":1}, is now 1)");
}

TEST(JsonDifferenceTest, AFieldMayBeAddedAndNotTakenAway) {
  EXPECT_EQ(Difference(R"({"a": {"b": 1}})", R"({"c": 2, "a": {"d": 3, "b": 1}})"), "");
  EXPECT_EQ(Difference(R"({"a": [{"b": 1}]})", R"({"a": [{"b": 1, "c": 2}]})"), "");
  EXPECT_EQ(Difference(R"({"a": 1, "b": null})", R"({"a": 1})"), "b was null, is now absent");
}

}  // namespace
}  // namespace qc2c
