/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the servers that there are, made of an input's decisions: documents of their shapes
 * with figures, texts and more members of chance, as one, as events, as lines; compressed or not;
 * framed in any way.
 */
#ifndef WEIR_MAKE_ANSWER_H
#define WEIR_MAKE_ANSWER_H

#include "make_coded.h"
#include "make_http1.h"
#include "make_json.h"

/* Keys that mean something somewhere, so that they must not where they do not. */
static const char *const answer_words[] = {
	"object",	 "created", "content",		"text",	    "name",	     "arguments",
	"type",		 "role",    "tool_calls",	"function", "prompt_tokens", "input_tokens",
	"output_tokens", "id",	    "finish_reason",	"index",    "cached_tokens", "details",
	"total_tokens",	 "model_",  "reasoning_tokens", "refusal",  "logprobs",	     "input",
};

/* Plain answers, then events and lines, a server's together. */
static const char *const answer_shapes[] = {
	"{'id':~,'object':'chat.completion','model':~,@'choices':[{'index':0,'message':{'role':"
	"'assistant',@'content':~},'finish_reason':~}],'usage':{'prompt_tokens':#,"
	"'completion_tokens':#,'total_tokens':#,'prompt_tokens_details':{@'cached_tokens':#},"
	"'completion_tokens_details':{'reasoning_tokens':#}},'system_fingerprint':~}",
	"{'model':~,'choices':[{'message':{'content':[{'type':'text','text':~},*],'tool_calls':[{"
	"'function':{'name':~,'arguments':~}},*]}}],'usage':{'prompt_tokens':#,@'completion_tokens"
	"':#,'input_tokens':#,'output_tokens':#,'input_tokens_details':null}}",
	"{'object':'list','data':[{'embedding':[0.1,-0.5,1e-9],'index':0},{'embedding':~}],@"
	"'model':~,'usage':{'prompt_tokens':#,'total_tokens':#}}",
	"{'id':~,'object':'response','model':~,'output':[{'type':'message','content':[{'type':"
	"'output_text','text':~}]},*],'usage':{'input_tokens':#,'input_tokens_details':{"
	"'cached_tokens':#},'output_tokens':#,'output_tokens_details':{'reasoning_tokens':#}}}",
	"{'text':~,'meta_info':{'id':~,'finish_reason':{'type':'stop'},'prompt_tokens':#,"
	"'completion_tokens':#,'cached_tokens':#}}",
	"[{'text':~,'meta_info':{'prompt_tokens':#,'completion_tokens':#}},{'text':~,'meta_info':{"
	"'prompt_tokens':#,'completion_tokens':#,@'cached_tokens':#}}]",
	"[{'generated_text':~,'details':{'finish_reason':'length','generated_tokens':#,'prefill':["
	"{'id':1},{'id':2}],'tokens':[*]}}]",
	"{'content':~,'stop_type':'eos','model':~,'tokens_evaluated':#,'tokens_predicted':#,"
	"'tokens_cached':9,'timings':{'cache_n':#,'prompt_n':#,'predicted_n':#}}",
	"{'type':'message','id':~,'model':~,'content':[{'type':'text','text':~},{'type':"
	"'tool_use','name':~,'input':*}],'stop_reason':~,'usage':{'input_tokens':#,"
	"'cache_read_input_tokens':#,@'cache_creation_input_tokens':#,'output_tokens':#}}",
	"{'model':~,'message':{'role':'assistant','content':~},'done_reason':~,'done':true,"
	"'prompt_eval_count':#,'eval_count':#}",
	"{'id':~,'finish_reason':~,'message':{'content':[{'type':'text','text':~}]},'usage':{"
	"'billed_units':{'input_tokens':#,'output_tokens':#},'tokens':{'input_tokens':#,"
	"'output_tokens':#},'cached_tokens':#}}",
	"{'generation_id':~,'text':~,'meta':{'billed_units':{'input_tokens':#,'output_tokens':#}}}",
	"{'model_name':~,'model_version':'1','text_output':~}",
	"{'results':[{'index':0,'relevance_score':0.5}],'usage':{'total_tokens':#},@'model':~}",
	"{'text':~,'usage':{'type':'tokens','input_tokens':#,'input_token_details':{'text_tokens':"
	"#,'audio_tokens':#},'output_tokens':#}}",
	"{'error':{'message':~,'type':*}}",
	"*",
};

static const char *const event_shapes[] = {
	/* OpenAI, vLLM */
	"{'id':~,'model':~,'choices':[{'index':0,'delta':{'role':'assistant','content':''}}]}",
	"{'id':~,'choices':[{'delta':{@'content':~},'finish_reason':null}],'usage':null}",
	"{'choices':[{'delta':{'tool_calls':[{'index':0,'function':{'arguments':~}}]}}]}",
	"{'choices':[{'delta':{},'finish_reason':~}]}",
	"{'choices':[],'model':~,'usage':{'prompt_tokens':#,'completion_tokens':#}}",
	"{'choices':[{'delta':{'reasoning_content':~}}],'usage':{'prompt_tokens':#,"
	"'completion_tokens':#,'prompt_tokens_details':{'cached_tokens':#}}}",
	"[DONE]",
	/* Responses */
	"{'type':'response.output_text.delta','delta':~}",
	"{'type':'response.output_text.done','text':~}",
	"{'type':'response.completed','response':{'id':~,'model':~,@'usage':{'input_tokens':#,"
	"'input_tokens_details':{'cached_tokens':#},'output_tokens':#}}}",
	/* Anthropic */
	"{'type':'message_start','message':{'id':~,'model':~,'usage':{'input_tokens':#,"
	"'cache_read_input_tokens':#,'output_tokens':#}}}",
	"{'type':'content_block_delta','index':0,'delta':{'type':'text_delta','text':~}}",
	"{'type':'message_delta','delta':{'stop_reason':~},'usage':{@'output_tokens':#}}",
	"{'type':'message_stop'}",
	/* SGLang */
	"{'text':~,'meta_info':{'prompt_tokens':#,'completion_tokens':#,'finish_reason':null}}",
	"{'text':~,'index':#,'meta_info':{'prompt_tokens':#,'completion_tokens':#,'finish_reason':"
	"{'type':'length'}}}",
	/* TGI, llama.cpp, Ollama, Cohere, Triton */
	"{'token':{'id':1,'text':~},'generated_text':null,'details':null}",
	"{'token':{'text':~},'generated_text':~,'details':{'finish_reason':~,'generated_tokens':#,"
	"'input_length':#}}",
	"{'content':~,'stop':false,'tokens_predicted':#,'tokens_evaluated':#}",
	"{'choices':[],'timings':{'cache_n':#,'prompt_n':#,'predicted_n':#}}",
	"{'model':~,'response':~,'done':false}",
	"{'model':~,'message':{'content':~,'thinking':~},'done':true,'prompt_eval_count':#,"
	"'eval_count':#}",
	"{'type':'content-delta','delta':{'message':{'content':{'text':~}}}}",
	"{'type':'message-end','delta':{'finish_reason':~,'usage':{'billed_units':{'input_tokens'"
	":#,'output_tokens':#},'tokens':{'input_tokens':#,'output_tokens':#}}}}",
	"{'event_type':'stream-end','response':{'text':~,'meta':{'tokens':{'input_tokens':#,"
	"'output_tokens':#}}}}",
	"{'text_output':~,'model_name':~}",
	"*",
};

static const struct make_words answer_list = { answer_words,
					       sizeof(answer_words) / sizeof(answer_words[0]) };

static inline void put_document(struct bytes *b, struct input *in)
{
	put_shape(b, in, PICK(in, answer_shapes), answer_list);
}

/* One of an event stream, in the ways that its lines may be cut and ended. */
static inline void put_event(struct bytes *b, struct input *in, const char *shape)
{
	static const char *const fields[] = { "",	  "",	   "",	       ": a comment",
					      "event: x", "id: 1", "retry: 9", "data",
					      "data:" };
	const char *eol = choose(in, 4) ? "\n" : choose(in, 2) ? "\r\n" : "\r";
	size_t how = choose(in, 16);
	struct bytes d = { 0 };
	const char *field = PICK(in, fields);

	if (*field) {
		put_text(b, field);
		put_text(b, eol);
	}
	put_shape(&d, in, shape, answer_list);
	put_text(b, how & 1 ? "data:" : "data: ");
	for (size_t i = 0; i < d.n; i++) {
		bool line_end = d.p[i] == '\n' || d.p[i] == '\r';

		if (line_end || (how > 13 && d.p[i] == ',')) { /* a line of data of its own */
			put(b, d.p + i, !line_end);
			put_text(b, eol);
			put_text(b, "data: ");
		} else {
			put_byte(b, d.p[i]);
		}
	}
	put_text(b, eol);
	put_text(b, how == 13 ? "" : eol);
	bytes_free(&d);
}

static inline void put_document_line(struct bytes *b, struct input *in)
{
	struct bytes d = { 0 };

	put_shape(&d, in, PICK(in, event_shapes), answer_list);
	for (size_t i = 0; i < d.n; i++)
		if (d.p[i] != '\n' && d.p[i] != '\r')
			put_byte(b, d.p[i]);
	put_text(b, choose(in, 8) ? "\n" : " \t\r\n");
	bytes_free(&d);
}

/* A header line in which a cache says something. */
static inline void put_cache_line(struct bytes *b, struct input *in)
{
	static const char *const names[] = { "Cache-Status", "X-Cache", "x-cache-status",
					     "cf-cache-status" };
	static const char *const pieces[] = { "HIT",
					      "miss",
					      "; hit",
					      ";fwd=stale",
					      "; fwd=uri-miss",
					      ", ",
					      "Edge",
					      "\"a, b; hit\"",
					      "STALE",
					      "; fwd=bypass",
					      " from ",
					      "UPDATING",
					      ";",
					      "Hit from cloudfront",
					      "\"",
					      "hit=?0",
					      "TCP_HIT",
					      "expired",
					      "\\",
					      " " };

	put_format(b, "%s: ", PICK(in, names));
	for (size_t n = choose(in, 6); n--;)
		put_text(b, PICK(in, pieces));
	put_text(b, "\r\n");
}

static inline void put_answer(struct bytes *b, struct input *in)
{
	static const char *const statuses[] = { "HTTP/1.1 200 OK",
						"HTTP/1.1 200 OK",
						"HTTP/1.1 200 OK",
						"HTTP/1.1 201 Created",
						"HTTP/1.1 429 Too Many Requests",
						"HTTP/1.1 500 x" };
	static const char *const codings[] = { "", "", "", "", "", "gzip", "zstd", "deflate" };
	static const char *const more[] = { "",
					    "",
					    "",
					    "",
					    "x-prompt-tokens: 12\r\n",
					    "x-generated-tokens: 7\r\nX-Prompt-Tokens: 3\r\n",
					    "x-request-id: 77-a\r\n",
					    "content-encoding: br\r\n" };
	const char *coding = PICK(in, codings);
	struct bytes body = { 0 }, coded = { 0 };
	size_t kind = choose(in, 8), n = 1 + choose(in, 6);
	bool hurts = choose(in, 4) == 3;

	put(&body, "", 0);
	put_interim(b, in);
	put_head(b, in, PICK(in, statuses));
	put_text(b, PICK(in, more));
	for (size_t lines = choose(in, 8); lines-- > 5;)
		put_cache_line(b, in);
	if (kind < 3) {
		put_text(b, "content-type: application/json\r\n");
		put_document(&body, in);
		put_blanks(&body, in);
	} else if (kind < 6) {
		put_text(b, "content-type: text/event-stream; charset=utf-8\r\n");
		while (n--)
			put_event(&body, in, PICK(in, event_shapes));
	} else {
		put_text(b, kind == 6 ? "Content-Type: application/x-ndjson\r\n"
				      : "content-type: application/json\r\n");
		while (n--)
			put_document_line(&body, in);
	}
	if (hurts)
		hurt(&body, in);
	if (*coding) {
		put_format(b, "Content-Encoding: %s\r\n", coding);
		put_coded(&coded, in, coding, body.p, body.n);
		put_framed(b, in, coded.p, coded.n);
	} else {
		put_framed(b, in, body.p, body.n);
	}
	bytes_free(&body);
	bytes_free(&coded);
}

#endif
