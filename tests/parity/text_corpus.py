"""Texts, conversations and chat templates that the text parity test compares."""

import random

_CODE = """\
def f(x):\n\tif x == 0x1F600:  # café\n\t\treturn {"a": [1, 2.5e-3]}\n    \n#include <vector>\r
template <typename T> constexpr auto kV = T{};\r\nfor(;;){}\n\n\n\n"""


def _long_text() -> str:
    """Some 40,000 characters: words, numbers, scripts and white space in a fixed random order."""
    rng = random.Random(7)
    pieces = ["the", "cat", "sat", "1234567", "今天天气", "很好", "привет", "мир", "שלום"]
    pieces += ["👩\u200d👩\u200d👧\u200d👦", "don't", "WE'LL", "x+=1;", "e\u0301", "…"]
    return "".join(
        rng.choice(pieces) + rng.choice([" ", " ", " ", "  ", "\n", "\n\n", "\t", ""])
        for _ in range(9000)
    )


TEXTS = [
    "",
    " ",
    "    ",
    "\n",
    "\n\n\n",
    "\t \r\n \t",
    "Hello world!",
    " leading and trailing ",
    "  two  spaces   three    four  ",
    "trailing newline\n",
    "\nleading newline",
    "I'm you're WE'LL they'd o'clock",
    "1 12 123 1234 12345 3.14159 -7e10 ½ ² Ⅷ １２３",
    "今天天气很好，我们去公园玩吧。",
    "東京都に住んでいます。カタカナ ひらがな ﾊﾝｶｸ",
    "대한민국 한글 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "Привет, мир! Ελληνικά العربية עברית हिन्दी ไทย ქართული",
    "😀😃 👍🏽 🇩🇪🇫🇷 ❤️",
    "👩‍👩‍👧‍👦 👨🏿‍🚀 🏳️‍🌈 🧑‍🤝‍🧑",
    "e\u0301 é n\u0303 ñ a\u0323\u0307 \u0344 Z\u0351\u036b\u0343a\u0335l\u0321g\u0322o\u0324",
    "ﬁ ﬂ ﬃ ℌ ℕ Å Å Ω Ω",
    "zero\u200bwidth\u200djoin\ufeffbom soft\u00adhyphen nb\u00a0space \u3000 \u2028 \u2029",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠮷野家 🜁 \U0010ffff \ue000 \ufffd",
    "\x00\x01\x1f\x7f\x80\x9f",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n",
    "a<|endoftext|>b <|endoftext|> c<|im_end|>  d",
    "<s>[INST] x [/INST] y </s> <unk> <pad> <0xE4><0xBD><0xA0>",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>",
    "<think>\nwell\n</think>\n\n<tool_call>{}</tool_call> <|vision_start|><|image_pad|>",
    "<|im_start|><|im_start|> <|im_start <|im_end|",
    "▁already ▁▁ marked ĠĊ ## wordpiece",
    "https://example.org/a?b=c&d=%20#e user@example.org C:\\path\\file",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "!!!???...,,,;;;---___***((()))",
    "SCREAMING camelCase snake_case kebab-case iPhone15",
    _CODE,
    "Question: What is 7 × 8?\nA. 54\nB. 56\nC. 58\nD. 63\nAnswer:",
    _long_text(),
]

_PIECES = {
    "latin": ["the", "Hello", "I'm", "don't", "naïve", "Straße", "O'Neil", "iPhone15", "x_1", "A."],
    "numbers": ["0", "42", "1234567", "3.14", "-7e10", "１２３", "½", "²", "1,000", "0x1F"],
    "chinese": ["今天", "天气", "很好", "，", "我们", "去公园", "。", "𠮷野家", "「引」", "年"],
    "scripts": ["мир", "שלום", "مرحبا", "हिन्दी", "ไทย", "한글", "カタカナ", "Ωμ", "ქარ", "ﾊﾝｶｸ"],
    "emoji": [
        "😀",
        "👍🏽",
        "👩\u200d👩\u200d👧\u200d👦",
        "🇩🇪",
        "❤️",
        "🏳️\u200d🌈",
        "🜁",
        "🧑\u200d🚀",
    ],
    "marks": ["e\u0301", "a\u0323\u0307", "\ufeff", "\u200b", "\ufffd", "\x00", "\x7f", "ﬁ", "Å"],
    "code": ["def f(x):", "{'a': [1]}", "->", "==", "//", "#include <v>", "();", "</p>", "$x", "`"],
    "special": [
        *["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<tool_call>"],
        *["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
        *["<s>", "</s>", "<unk>", "<pad>", "[INST]", "<bos>", "<eos>", "<start_of_turn>"],
        *["<end_of_turn>", "<|im_", "_end|>", "<0xE4>", "▁", "Ġ", "<0x0A>", "<unused7>"],
    ],
    "space": ["  ", "\n", "\n\n", "\t", "\r\n", "    ", "\u00a0", "\u3000", "\u2028", " \n "],
}


def varied_texts(count: int) -> list[str]:
    """Short texts in a fixed random order: one kind of piece or several, white space at the ends."""
    rng = random.Random(11)
    texts = []
    for _ in range(count):
        kinds = rng.sample(sorted(_PIECES), rng.choice([1, 2, 2, 3, 4, len(_PIECES)]))
        pieces = [rng.choice(_PIECES[rng.choice(kinds)]) for _ in range(rng.randint(1, 14))]
        glue = rng.choice(["", " ", " ", " ", "\n"])
        ends = [rng.choice(["", "", "", *_PIECES["space"]]) for _ in range(2)]
        texts.append(ends[0] + glue.join(pieces) + ends[1])
    return texts


VARIED_TEXTS = varied_texts(1000)


def _chat(*turns: str) -> list[dict[str, str]]:
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": names[turn[0]], "content": turn[2:]} for turn in turns]


CONVERSATIONS = [
    [],
    _chat("u:Hello"),
    _chat("s:Be brief.", "u:Which city does Ada live in?"),
    _chat("u:1+1?", "a:2", "u:And 2+2?"),
    _chat("s:System", "u:a", "a:b", "u:c", "a:d"),
    _chat("u:q", "a:<think>\nlong thought\n</think>\n\nanswer", "u:next"),
    _chat("u:q", "a:<think>\nlong thought\n</think>\n\nanswer"),
    _chat("u:q", "a:no thought here"),
    _chat("u:q", "t:42", "t:43", "a:done"),
    _chat("u:q", "a:call", "u:<tool_response>\n1\n</tool_response>", "a:ok"),
    _chat("u:", "a:", "u:  \n spaces at the ends \x1f\t\n"),
    _chat("u:今天天气 👩‍👩‍👧‍👦 e\u0301 \x00", "a:<b>&'\"\\</b>", "s:late system"),
    _chat("u:{{ messages }} {% raw %} {# not a comment #} <|im_end|>\r\nx"),
    _chat("a:assistant first", "u:then user"),
    _chat("u:one", "u:two users"),
]


def varied_conversations(count: int) -> list[list[dict[str, str]]]:
    """Turns of varied texts, mostly in the order that every template takes."""
    rng = random.Random(13)
    conversations = []
    for _ in range(count):
        roles = ["user", "assistant"] * 3
        roles = roles[: rng.choice([1, 1, 2, 3, 5])]
        if rng.random() < 0.3:
            roles.insert(0, "system")
        if rng.random() < 0.15:
            rng.shuffle(roles)
        if rng.random() < 0.1:
            roles.insert(rng.randrange(len(roles) + 1), "tool")
        messages = [{"role": role, "content": rng.choice(VARIED_TEXTS)} for role in roles]
        if rng.random() < 0.2:
            messages[-1]["content"] = "<think>\nhm\n</think>\n\n" + messages[-1]["content"]
        conversations.append(messages)
    return conversations


VARIED_CONVERSATIONS = varied_conversations(200)

_CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# Alternating turns, refusals, BOS and EOS, trimmed content: the manner of Llama 2 and Gemma.
_TURNS = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim + '\\n\\n' %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set system = '' %}
    {%- set turns = messages %}
{%- endif %}
{% for message in turns %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('Roles must alternate user/assistant: ' ~ message['role']) }}
    {% endif %}
    {%- if message.role == 'user' -%}
[INST] {{ (system if loop.first else '') ~ message.content.strip() }} [/INST]
    {%- else %}
 {{ message.content | trim }} {{ eos_token }}
    {%- endif %}
{% endfor %}
"""

# What templates use of jinja2 beyond the plain case, and what transformers adds to it.
_FEATURES = """\
{#- a comment -#}
{%- set ns = namespace(count=0, last='') -%}
{%- macro show(text, sep='|') -%}<{{ text }}{{ sep }}>{%- endmacro -%}
{% for message in messages[::-1] %}
  {% if message.role == 'tool' %}{% continue %}{% endif %}
  {% if loop.index > 4 %}
    {% break %}
  {% endif %}
  {%- set ns.count = ns.count + 1 %}
  {%- set ns.last = message['content'] %}
  {{ show(message.content.strip()) }} {{- show(message.role.upper(), sep='/') }}
  {{ message | tojson }}
{{ {'z': [1, -2.5, none, true, [], {}], 'a': message.content} | tojson(indent=2) }}
  {{ message.content | tojson(ensure_ascii=true) }}
{% else %}
nothing
{% endfor %}
{% generation %}
{{ none }} {{ true }} {{ false }} {{ 7 // 2 }} {{ 7 / 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 1.0 }}
{%- endgeneration %}
{{ tools is none }} {{ tools is defined }} {{ enable_thinking is defined }} {{ unknown }}
{{ strftime_now('%Y') }} {{ bos_token is defined }} {{ eos_token | default('no eos') }}
{% if messages %}
{{ messages | map(attribute='role') | join(',') }} {{ messages | length }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ (messages | first).role }} {{ (messages | last).role }} {{ messages[-1]['role'][:2] }}
{{ 'user' in messages | map(attribute='role') | list }}
{% for key, value in messages[0].items() %}{{ key }}={{ value | length }};{% endfor %}
{{ messages[0].get('absent', 'fallback') }} {{ messages[0].content is string }}
{{ messages[0] is mapping }} {{ messages is iterable }}
{% set text = messages[0].content %}
{{ text.split(' ')[0] }} {{ text.replace('l', 'L') }} {{ text.startswith('H') }} {{ text.title() }}
{{ text.lstrip('\\n ') + text.rstrip() }} {{ text | replace('o', '0') | upper }}
{% endif %}
{{ ns.count }} {{ ns.last | trim }} {{ 'yes' if ns.count > 1 else 'no' }} {{ range(3) | list | length }}
{% raw %}{{ raw }}{% endraw %}

    {%+ if true %}kept indent{% endif +%}

end
"""

TEMPLATES = {
    "chatml": {
        "chat_template.jinja": _CHATML,
        "tokenizer_config.json": {"eos_token": "<|im_end|>"},
    },
    "list": {
        "tokenizer_config.json": {
            "chat_template": [
                {"name": "tool_use", "template": "not this one"},
                {"name": "default", "template": _CHATML},
            ]
        }
    },
    "turns": {
        "tokenizer_config.json": {
            "bos_token": {"content": "<s>", "lstrip": False, "__type": "AddedToken"},
            "eos_token": {"content": "</s>", "lstrip": False, "__type": "AddedToken"},
            "chat_template": _TURNS,
        }
    },
    "features": {"chat_template.jinja": _FEATURES, "tokenizer_config.json": {"bos_token": "<s>"}},
    "crlf": {"chat_template.jinja": _TURNS.replace("\n", "\r\n"), "tokenizer_config.json": {}},
}
