// SPDX-License-Identifier: Apache-2.0
#include "agent/request_type.h"

#include <string.h>

/* By the end of the path. Of two that fit, the longer one stands first. */
static const struct {
	const char *end, *type;
} types[] = {
	{ "/chat/completions", "chat" }, /* OpenAI and all that speak it */
	{ "/completions", "completion" },
	{ "/responses", "response" },
	{ "/embeddings", "embedding" },
	{ "/audio/transcriptions", "transcription" },
	{ "/audio/translations", "translation" },
	{ "/audio/speech", "speech" },
	{ "/images/generations", "image" },
	{ "/images/edits", "image" },
	{ "/moderations", "moderation" },
	{ "/models", "models" },
	{ "/messages", "message" }, /* Anthropic */
	{ "/messages/count_tokens", "count_tokens" },
	{ "/rerank", "rerank" }, /* vLLM, Cohere, TEI */
	{ "/score", "score" },
	{ "/pooling", "pooling" },
	{ "/classify", "classify" },
	{ "/predict", "classify" },
	{ "/tokenize", "tokenize" },
	{ "/detokenize", "detokenize" },
	{ "/generate", "generate" }, /* SGLang, TGI, Triton, Ollama, Cohere v1 */
	{ "/generate_stream", "generate" },
	{ "/encode", "embedding" }, /* SGLang */
	{ "/embed", "embedding" },  /* TEI, Ollama, Cohere */
	{ "/embed_all", "embedding" },
	{ "/embed_sparse", "embedding" },
	{ "/embedding", "embedding" }, /* llama.cpp */
	{ "/completion", "completion" },
	{ "/infill", "infill" },
	{ "/reranking", "rerank" },
	{ "/chat", "chat" },   /* Ollama, Cohere */
	{ "/infer", "infer" }, /* Triton, of tensors */
	{ "/tags", "models" }, /* Ollama */
};

const char *weir_request_type(const char *path, size_t n)
{
	static const char one_model[] = "/v1/models/";

	while (n && path[n - 1] == '/')
		n--;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		size_t len = strlen(types[i].end);

		if (n >= len && !memcmp(path + n - len, types[i].end, len))
			return types[i].type;
	}
	return memmem(path, n, one_model, sizeof(one_model) - 1) ? "models" : NULL;
}
