//! The types of the ABI, and the one place where results, errors and panics become C values.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;

pub const OK: i32 = 0;
pub const INVALID: i32 = 1;
pub const INTERNAL: i32 = 2;

#[repr(C)]
pub struct Bytes {
    pub data: *mut u8,
    pub size: usize,
}

impl Bytes {
    pub const NONE: Bytes = Bytes { data: ptr::null_mut(), size: 0 };
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        let (data, size) = leak(text.into_bytes());
        Bytes { data, size }
    }
}

/// Hands a vector to the caller; `reclaim` with the same length takes it back.
pub fn leak<T>(values: Vec<T>) -> (*mut T, usize) {
    let values = Box::leak(values.into_boxed_slice());
    (values.as_mut_ptr(), values.len())
}

/// # Safety
/// `data` and `size` are what `leak` returned, or `data` is null.
pub unsafe fn reclaim<T>(data: *mut T, size: usize) {
    if !data.is_null() {
        drop(Box::from_raw(ptr::slice_from_raw_parts_mut(data, size)));
    }
}

/// # Safety
/// `data` points to `size` readable values that outlive `'a`, or `size` is 0.
pub unsafe fn slice<'a, T>(data: *const T, size: usize) -> &'a [T] {
    if size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

/// # Safety
/// As `slice`.
pub unsafe fn text<'a>(data: *const u8, size: usize, what: &str) -> Result<&'a str, String> {
    std::str::from_utf8(slice(data, size))
        .map_err(|e| format!("{what} is not UTF-8: first bad byte at {}", e.valid_up_to()))
}

/// Runs `body` and writes what it returned to `out`, or its message to `error`.
///
/// # Safety
/// `out` and `error` are writable.
pub unsafe fn guard<T>(
    out: *mut T,
    error: *mut Bytes,
    body: impl FnOnce() -> Result<T, String>,
) -> i32 {
    let (code, message) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => {
            out.write(value);
            return OK;
        }
        Ok(Err(message)) => (INVALID, message),
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            (INTERNAL, format!("panic: {what}"))
        }
    };
    error.write(message.into());
    code
}

/// # Safety
/// `bytes` came from this library and was not freed.
#[no_mangle]
pub unsafe extern "C" fn qc2c_text_bytes_free(bytes: Bytes) {
    reclaim(bytes.data, bytes.size);
}
