/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request asks for ("chat", "embedding", …), by its path: the endpoints of OpenAI,
 * Anthropic, Cohere and Ollama, of vLLM, SGLang, TGI, TEI, llama.cpp and Triton. Whatever prefix a
 * gateway put before it.
 */
#ifndef WEIR_REQUEST_TYPE_H
#define WEIR_REQUEST_TYPE_H

#include <stddef.h>

/* path: n bytes, without a query. NULL: none that is known. */
const char *weir_request_type(const char *path, size_t n);

#endif
