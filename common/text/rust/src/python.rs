//! Where minijinja and Python differ in what a chat template can see.

use std::ffi::CString;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Output, State, Value};
use minijinja_contrib::pycompat;

/// What `str.strip()` removes: Unicode white space and, in Python only, the four separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Methods on built-in types; the contributed ones, except where they see white space differently.
pub fn unknown_method(
    state: &State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match (value.as_str(), method, args) {
        (Some(text), "strip", []) => Ok(Value::from(text.trim_matches(is_space))),
        (Some(text), "lstrip", []) => Ok(Value::from(text.trim_start_matches(is_space))),
        (Some(text), "rstrip", []) => Ok(Value::from(text.trim_end_matches(is_space))),
        (Some(text), "title", []) => Ok(Value::from(title(text))),
        _ => pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// `str.title()`: a word begins behind whatever has no case, a digit for example.
fn title(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        match c {
            _ if in_word => result.extend(c.to_lowercase()),
            // Georgian has capitals, which begin no word.
            '\u{10d0}'..='\u{10ff}' => result.push(c),
            _ => {
                // The title case of a ligature is its capital, then small letters.
                let mut upper = c.to_uppercase();
                result.extend(upper.next());
                result.extend(upper.flat_map(char::to_lowercase));
            }
        }
        in_word = c.is_lowercase() || c.is_uppercase();
    }
    result
}

/// The `trim` filter.
pub fn trim(text: String, chars: Option<String>) -> String {
    match chars {
        Some(chars) => text.trim_matches(|c| chars.contains(c)).to_string(),
        None => text.trim_matches(is_space).to_string(),
    }
}

/// Prints the constants as Python spells them.
pub fn format(out: &mut Output, state: &State, value: &Value) -> Result<(), Error> {
    let constant = match value.kind() {
        ValueKind::None => "None",
        ValueKind::Bool if value.is_true() => "True",
        ValueKind::Bool => "False",
        _ => return minijinja::escape_formatter(out, state, value),
    };
    out.write_str(constant).map_err(Error::from)
}

/// `datetime.now().strftime(format)`: local time, the C library's formats, as in Python.
pub fn strftime_now(format: String) -> Result<String, Error> {
    let invalid =
        |why: &str| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {why}"));
    // A leading character tells an empty result from one that did not fit.
    let format = CString::new(format!(" {format}")).map_err(|_| invalid("NUL in the format"))?;
    let mut buffer = [0u8; 1024];
    // SAFETY: `time` outlives the call that reads it, `buffer` has the stated size, `format` ends in
    // NUL.
    let size = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut time: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&now, &mut time).is_null() {
            return Err(invalid("no local time"));
        }
        libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), format.as_ptr(), &time)
    };
    if size == 0 {
        return Err(invalid("the result is over 1024 bytes"));
    }
    Ok(String::from_utf8_lossy(&buffer[1..size]).into_owned())
}

/// `json.dumps(value, ensure_ascii=False, indent=...)`; jinja2's own filter would escape HTML.
pub fn tojson(value: Value, kwargs: Kwargs) -> Result<String, Error> {
    let options = JsonOptions {
        indent: kwargs.get::<Option<usize>>("indent")?,
        ensure_ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        separators: kwargs.get::<Option<Vec<String>>>("separators")?,
    };
    kwargs.assert_all_used()?;
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::BadSerialization, "tojson: the value is undefined"));
    }
    let json = serde_json::to_value(&value)
        .map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    let mut out = String::new();
    options.write(&json, 0, &mut out);
    Ok(out)
}

struct JsonOptions {
    indent: Option<usize>,
    ensure_ascii: bool,
    sort_keys: bool,
    separators: Option<Vec<String>>,
}

impl JsonOptions {
    fn write(&self, value: &serde_json::Value, depth: usize, out: &mut String) {
        use serde_json::Value as Json;
        match value {
            Json::String(text) => self.write_string(text, out),
            Json::Array(items) if items.is_empty() => out.push_str("[]"),
            Json::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    self.write_break(i > 0, depth + 1, out);
                    self.write(item, depth + 1, out);
                }
                self.write_break(false, depth, out);
                out.push(']');
            }
            Json::Object(fields) if fields.is_empty() => out.push_str("{}"),
            Json::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                if self.sort_keys {
                    fields.sort_by_key(|&(key, _)| key);
                }
                out.push('{');
                for (i, (key, field)) in fields.into_iter().enumerate() {
                    self.write_break(i > 0, depth + 1, out);
                    self.write_string(key, out);
                    out.push_str(self.separator(1, ": "));
                    self.write(field, depth + 1, out);
                }
                self.write_break(false, depth, out);
                out.push('}');
            }
            other => out.push_str(&other.to_string()),
        }
    }

    fn separator<'a>(&'a self, which: usize, default: &'a str) -> &'a str {
        self.separators.as_ref().and_then(|s| s.get(which)).map_or(default, String::as_str)
    }

    /// Between two items, or at an end of a container.
    fn write_break(&self, between: bool, depth: usize, out: &mut String) {
        if between {
            // With an indent Python's default drops the space that would end the line.
            out.push_str(self.separator(0, if self.indent.is_some() { "," } else { ", " }));
        }
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn write_string(&self, text: &str, out: &mut String) {
        // serde escapes what JSON demands and nothing else, with Python's short forms.
        let quoted = serde_json::Value::from(text).to_string();
        if !self.ensure_ascii {
            return out.push_str(&quoted);
        }
        for c in quoted.chars() {
            if c.is_ascii() && c != '\x7f' {
                out.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
}
