/* The C ABI of the Rust crate in common/text/rust. Only common/text's own sources include this.
 *
 * Strings are UTF-8 with explicit lengths and no terminator; an input may be NULL when its size is
 * 0. A function that can fail returns a qc2c_text_code: on OK it has written its result, otherwise
 * it has written a message to `error`; both are the caller's to free with the function named beside
 * the type. No panic crosses this boundary: it becomes QC2C_TEXT_INTERNAL. Handles are immutable
 * after creation and may be used from several threads at once. */
#ifndef QC2C_TEXT_ABI_H_
#define QC2C_TEXT_ABI_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t qc2c_text_code;
#define QC2C_TEXT_OK 0
#define QC2C_TEXT_INVALID 1  /* the input is at fault; the message says how */
#define QC2C_TEXT_INTERNAL 2 /* a panic inside the crate */

typedef struct qc2c_text_tokenizer qc2c_text_tokenizer; /* qc2c_text_tokenizer_free */
typedef struct qc2c_text_template qc2c_text_template;   /* qc2c_text_template_free */

typedef struct {
  char* data; /* qc2c_text_bytes_free */
  size_t size;
} qc2c_text_bytes;

typedef struct {
  int32_t* ids;    /* [size]; qc2c_text_encoding_free */
  size_t* offsets; /* [size][2], byte offsets begin and end in the text; NULL unless asked for */
  size_t size;
} qc2c_text_encoding;

void qc2c_text_bytes_free(qc2c_text_bytes bytes);
void qc2c_text_encoding_free(qc2c_text_encoding encoding);

/* Flags of qc2c_text_encode. */
#define QC2C_TEXT_ADD_SPECIAL 1u  /* run the post-processor (BOS, EOS) */
#define QC2C_TEXT_WITH_OFFSETS 2u /* fill `offsets` */

qc2c_text_code qc2c_text_tokenizer_new(const char* json, size_t json_size,
                                       qc2c_text_tokenizer** out, qc2c_text_bytes* error);
void qc2c_text_tokenizer_free(qc2c_text_tokenizer* tokenizer);
qc2c_text_code qc2c_text_encode(const qc2c_text_tokenizer* tokenizer, const char* text,
                                size_t text_size, uint32_t flags, qc2c_text_encoding* out,
                                qc2c_text_bytes* error);
/* Ids that the vocabulary lacks are left out, as in the Python library. */
qc2c_text_code qc2c_text_decode(const qc2c_text_tokenizer* tokenizer, const int32_t* ids,
                                size_t num_ids, int32_t skip_special, qc2c_text_bytes* out,
                                qc2c_text_bytes* error);
/* `out` is -1 when the vocabulary has no such token. */
qc2c_text_code qc2c_text_token_to_id(const qc2c_text_tokenizer* tokenizer, const char* token,
                                     size_t token_size, int32_t* out, qc2c_text_bytes* error);
/* `out->data` is NULL when the vocabulary has no such id. */
qc2c_text_code qc2c_text_id_to_token(const qc2c_text_tokenizer* tokenizer, int32_t id,
                                     qc2c_text_bytes* out, qc2c_text_bytes* error);
size_t qc2c_text_vocab_size(const qc2c_text_tokenizer* tokenizer);

/* `fuel` bounds the instructions of one rendering; its result has at most 16 MiB. */
qc2c_text_code qc2c_text_template_new(const char* source, size_t source_size, uint64_t fuel,
                                      qc2c_text_template** out, qc2c_text_bytes* error);
void qc2c_text_template_free(qc2c_text_template* chat_template);
/* `context` is a JSON object: the template's variables. */
qc2c_text_code qc2c_text_render(const qc2c_text_template* chat_template, const char* context,
                                size_t context_size, qc2c_text_bytes* out, qc2c_text_bytes* error);

#ifdef __cplusplus
}
#endif

#endif  // QC2C_TEXT_ABI_H_
