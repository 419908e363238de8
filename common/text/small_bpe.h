// For tests: a tokenizer.json whose vocabulary is small enough to encode by hand.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qc2c {

// BPE in the manner of Llama 2: the id of a token is its place in `vocabulary`, of which the first
// is for what is unknown; a space is "▁"; "<0xE4>" is that byte of a character that is no token.
// `special` are tokens of the vocabulary.
inline nlohmann::json SmallBpe(const std::vector<std::string>& vocabulary,
                               const std::vector<std::string>& merges,
                               const std::vector<std::string>& special) {
  using Json = nlohmann::json;
  Json ids = Json::object();
  for (size_t id = 0; id < vocabulary.size(); ++id) ids[vocabulary[id]] = id;
  Json added = Json::array();
  for (const std::string& token : special) {
    added.push_back({{"id", ids.at(token)},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}},
          {"pre_tokenizer", nullptr},
          {"post_processor", nullptr},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", vocabulary.front()},
            {"fuse_unk", true},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"byte_fallback", true},
            {"vocab", ids},
            {"merges", merges}}}};
}

}  // namespace qc2c
