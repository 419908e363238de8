//! The C ABI of `qc2c_text_abi.h`. What crosses it: lengths are explicit, results are owned by the
//! caller, errors are text, and a panic becomes a code.

mod abi;
mod chat_template;
mod python;
mod tokenizer;
