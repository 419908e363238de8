//! Hugging Face `tokenizers` behind the ABI.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;

use tokenizers::Tokenizer;

use crate::abi::{guard, leak, reclaim, slice, text, Bytes};

const ADD_SPECIAL: u32 = 1;
const WITH_OFFSETS: u32 = 2;

#[repr(C)]
pub struct Encoding {
    ids: *mut i32,
    offsets: *mut [usize; 2],
    size: usize,
}

fn load(json: &[u8]) -> Result<Tokenizer, String> {
    let mut tokenizer = Tokenizer::from_bytes(json).map_err(|e| e.to_string())?;
    // transformers switches both off unless a call asks for them; a file may carry either.
    tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

fn encode(tokenizer: &Tokenizer, text: &str, flags: u32) -> Result<Encoding, String> {
    let add_special = flags & ADD_SPECIAL != 0;
    let with_offsets = flags & WITH_OFFSETS != 0;
    let encoding = if with_offsets {
        tokenizer.encode(text, add_special)
    } else {
        tokenizer.encode_fast(text, add_special)
    }
    .map_err(|e| e.to_string())?;
    let mut offsets = ptr::null_mut();
    if with_offsets {
        let pairs = encoding.get_offsets().iter().map(|&(begin, end)| [begin, end]).collect();
        offsets = leak(pairs).0;
    }
    let (ids, size) = leak(encoding.get_ids().iter().map(|&id| id as i32).collect());
    Ok(Encoding { ids, offsets, size })
}

fn decode(tokenizer: &Tokenizer, ids: &[i32], skip_special: bool) -> Result<String, String> {
    let mut unsigned = Vec::with_capacity(ids.len());
    for (i, &id) in ids.iter().enumerate() {
        unsigned.push(u32::try_from(id).map_err(|_| format!("ids[{i}] is {id}, expected >= 0"))?);
    }
    tokenizer.decode(&unsigned, skip_special).map_err(|e| e.to_string())
}

/// # Safety
/// `json` has `json_size` bytes; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn qc2c_text_tokenizer_new(
    json: *const u8,
    json_size: usize,
    out: *mut *mut Tokenizer,
    error: *mut Bytes,
) -> i32 {
    guard(out, error, || Ok(Box::into_raw(Box::new(load(slice(json, json_size))?))))
}

/// # Safety
/// `tokenizer` came from `qc2c_text_tokenizer_new` and was not freed, or is null.
#[no_mangle]
pub unsafe extern "C" fn qc2c_text_tokenizer_free(tokenizer: *mut Tokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

/// # Safety
/// `encoding` came from `qc2c_text_encode` and was not freed.
#[no_mangle]
pub unsafe extern "C" fn qc2c_text_encoding_free(encoding: Encoding) {
    reclaim(encoding.ids, encoding.size);
    reclaim(encoding.offsets, encoding.size);
}

/// # Safety
/// `input` has `size` bytes; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn qc2c_text_encode(
    tokenizer: &Tokenizer,
    input: *const u8,
    size: usize,
    flags: u32,
    out: *mut Encoding,
    error: *mut Bytes,
) -> i32 {
    guard(out, error, || encode(tokenizer, text(input, size, "the text")?, flags))
}

/// # Safety
/// `ids` has `num_ids` values; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn qc2c_text_decode(
    tokenizer: &Tokenizer,
    ids: *const i32,
    num_ids: usize,
    skip_special: i32,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(out, error, || Ok(decode(tokenizer, slice(ids, num_ids), skip_special != 0)?.into()))
}

/// # Safety
/// `token` has `size` bytes; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn qc2c_text_token_to_id(
    tokenizer: &Tokenizer,
    token: *const u8,
    size: usize,
    out: *mut i32,
    error: *mut Bytes,
) -> i32 {
    guard(out, error, || {
        let token = text(token, size, "the token")?;
        Ok(tokenizer.token_to_id(token).map_or(-1, |id| id as i32))
    })
}

/// # Safety
/// `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn qc2c_text_id_to_token(
    tokenizer: &Tokenizer,
    id: i32,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(out, error, || {
        let token = u32::try_from(id).ok().and_then(|id| tokenizer.id_to_token(id));
        Ok(token.map_or(Bytes::NONE, Bytes::from))
    })
}

#[no_mangle]
pub extern "C" fn qc2c_text_vocab_size(tokenizer: &Tokenizer) -> usize {
    catch_unwind(AssertUnwindSafe(|| tokenizer.get_vocab_size(true))).unwrap_or(0)
}
