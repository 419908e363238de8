//! Chat templates as transformers renders them: jinja2's language on minijinja, with the options,
//! globals and filters that `apply_chat_template` adds.

use std::io;

use minijinja::{context, Environment, Error, ErrorKind, Value};

use crate::abi::{guard, text, Bytes};
use crate::python;

const NAME: &str = "chat_template";

/// Of a rendered prompt; far more than any model's context.
const MAX_BYTES: usize = 16 << 20;

/// A compiled template with its environment. No loader reads files: a template sees its variables
/// and nothing else.
pub struct ChatTemplate {
    environment: Environment<'static>,
    fuel: u64,
}

/// Takes up to MAX_BYTES and refuses the rest.
#[derive(Default)]
struct BoundedOutput {
    bytes: Vec<u8>,
    is_over: bool,
}

impl io::Write for BoundedOutput {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.len() > MAX_BYTES - self.bytes.len() {
            self.is_over = true;
            return Err(io::Error::other("over the limit"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// transformers marks what the assistant said with its own tag pair, which leaves no trace in the
/// rendered text. A block that always runs does the same and exists here.
fn replace_generation_tags(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(begin) = rest.find("{%") {
        let Some(length) = rest[begin..].find("%}") else { break };
        let (tag, after) = rest[begin..].split_at(length);
        let inner = tag[2..].trim_matches(|c: char| c == '-' || c == '+' || c.is_whitespace());
        result.push_str(&rest[..begin]);
        match inner {
            "generation" => result.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => result.push_str(&tag.replace("endgeneration", "endif")),
            _ => result.push_str(tag),
        }
        rest = after;
    }
    result.push_str(rest);
    result
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("raise_exception: {message}")))
}

fn compile(source: &str, fuel: u64) -> Result<ChatTemplate, String> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(fuel));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(python::unknown_method);
    environment.set_formatter(python::format);
    environment.add_filter("tojson", python::tojson);
    environment.add_filter("trim", python::trim);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", python::strftime_now);
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    environment
        .add_template_owned(NAME, replace_generation_tags(&source))
        .map_err(|e| describe(&e, fuel))?;
    Ok(ChatTemplate { environment, fuel })
}

fn render(template: &ChatTemplate, variables: &str) -> Result<String, String> {
    let variables: serde_json::Value =
        serde_json::from_str(variables).map_err(|e| format!("the variables: {e}"))?;
    let fuel = template.fuel;
    let compiled = template.environment.get_template(NAME).map_err(|e| describe(&e, fuel))?;
    let mut output = BoundedOutput::default();
    let context = context! { ..Value::from_serialize(&variables) };
    let result = compiled.render_captured_to(context, &mut output).map(|_| ());
    if output.is_over {
        return Err(format!("the rendering has more than {} bytes", MAX_BYTES));
    }
    result.map_err(|e| describe(&e, fuel))?;
    String::from_utf8(output.bytes).map_err(|e| e.to_string())
}

/// The error with its line and everything that caused it, on one line.
fn describe(error: &Error, fuel: u64) -> String {
    let mut message = match error.kind() {
        ErrorKind::OutOfFuel => {
            format!(
                "the rendering took more than {} steps (line {})",
                fuel,
                error.line().unwrap_or(0)
            )
        }
        _ => error.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        message.push_str(": ");
        message.push_str(&inner.to_string());
        cause = inner.source();
    }
    message
}

/// # Safety
/// `source` has `size` bytes; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn qc2c_text_template_new(
    source: *const u8,
    size: usize,
    fuel: u64,
    out: *mut *mut ChatTemplate,
    error: *mut Bytes,
) -> i32 {
    guard(out, error, || {
        let source = text(source, size, "the template")?;
        Ok(Box::into_raw(Box::new(compile(source, fuel)?)))
    })
}

/// # Safety
/// `template` came from `qc2c_text_template_new` and was not freed, or is null.
#[no_mangle]
pub unsafe extern "C" fn qc2c_text_template_free(template: *mut ChatTemplate) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

/// # Safety
/// `variables` has `size` bytes; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn qc2c_text_render(
    template: &ChatTemplate,
    variables: *const u8,
    size: usize,
    out: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(out, error, || Ok(render(template, text(variables, size, "the variables")?)?.into()))
}
