/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers as servers write them, written from the formats, and what there is to
 * know of each. Bodies only: tests frame them in every way HTTP has.
 */
#ifndef WEIR_RESPONSE_SAMPLES_H
#define WEIR_RESPONSE_SAMPLES_H

#include "agent/response.h"

#define U WEIR_UNKNOWN

struct sample {
	const char *name;
	const char *type; /* Content-Type */
	const char *body;
	struct weir_usage usage;
	uint32_t chunks;
	const char *model;
	const char *id;
	const char *finish;
	enum weir_usage_source source;
};

#define JSON "application/json"
#define SSE  "text/event-stream; charset=utf-8"

static const struct sample samples[] = {
	{ "OpenAI chat: cached and reasoning tokens are parts of their totals",
	  JSON,
	  "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1763690000,"
	  "\"model\":\"gpt-4o-2024-08-06\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
	  "\"assistant\",\"content\":\"{\\\"usage\\\":{\\\"prompt_tokens\\\":9}} \\ud83d\\ude00\","
	  "\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
	  "\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":50,\"total_tokens\":150,"
	  "\"prompt_tokens_details\":{\"cached_tokens\":60,\"audio_tokens\":0},"
	  "\"completion_tokens_details\":{\"reasoning_tokens\":20,\"audio_tokens\":0,"
	  "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}},"
	  "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_1\"}",
	  { 40, 60, U, 30, 20 },
	  0,
	  "gpt-4o-2024-08-06",
	  "chatcmpl-1",
	  "stop",
	  WEIR_USAGE_REPORTED },
	{ "an explicit 0 is a count",
	  JSON,
	  "{\"id\":\"a\",\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":0,"
	  "\"completion_tokens\":0,\"prompt_tokens_details\":{\"cached_tokens\":0}}}",
	  { 0, 0, U, 0, U },
	  0,
	  "m",
	  "a",
	  "",
	  WEIR_USAGE_REPORTED },
	{ "vLLM chat, pretty-printed, details null",
	  JSON,
	  "{\n  \"id\" : \"chatcmpl-v\",\n  \"model\" : \"meta-llama/Llama-3.3-70B-Instruct\",\n"
	  "  \"choices\" : [ { \"index\" : 0, \"message\" : { \"role\" : \"assistant\", \"content\""
	  " : \"hi\", \"tool_calls\" : [] }, \"logprobs\" : null, \"finish_reason\" : \"length\","
	  " \"stop_reason\" : null } ],\n  \"usage\" : { \"prompt_tokens\" : 17, \"total_tokens\" :"
	  " 27, \"completion_tokens\" : 10, \"prompt_tokens_details\" : null },\n"
	  "  \"prompt_logprobs\" : null\n}\n",
	  { 17, U, U, 10, U },
	  0,
	  "meta-llama/Llama-3.3-70B-Instruct",
	  "chatcmpl-v",
	  "length",
	  WEIR_USAGE_REPORTED },
	{ "a stream with include_usage: usage comes once, after the text",
	  SSE,
	  "data: {\"id\":\"c2\",\"model\":\"m2\",\"choices\":[{\"index\":0,\"delta\":{\"role\":"
	  "\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n"
	  "data: {\"id\":\"c2\",\"model\":\"m2\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
	  "\"Hel\\\"lo\"},\"finish_reason\":null}],\"usage\":null}\n\n"
	  "data: {\"id\":\"c2\",\"model\":\"m2\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
	  "\"data: \\n\\n\"},\"finish_reason\":null}],\"usage\":null}\n\n"
	  "data: {\"id\":\"c2\",\"model\":\"m2\",\"choices\":[{\"index\":0,\"delta\":{},"
	  "\"finish_reason\":\"stop\"}],\"usage\":null}\n\n"
	  "data: {\"id\":\"c2\",\"model\":\"m2\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,"
	  "\"completion_tokens\":3,\"total_tokens\":15}}\n\ndata: [DONE]\n\n",
	  { 12, U, U, 3, U },
	  2,
	  "m2",
	  "c2",
	  "stop",
	  WEIR_USAGE_REPORTED },
	{ "a stream without usage: its chunks are counted",
	  SSE,
	  ": ping\r\n\r\ndata: {\"id\":\"c3\",\"model\":\"m3\",\"choices\":[{\"index\":0,\"delta\":"
	  "{\"reasoning_content\":\"hm\"}}]}\r\n\r\ndata: "
	  "{\"id\":\"c3\",\"model\":\"m3\",\"choices\""
	  ":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{"
	  "\"}}"
	  "]}}]}\r\n\r\nevent: x\r\nid: 7\r\nretry: 10\r\ndata: {\"id\":\"c3\",\"model\":\"m3\","
	  "\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[]},\"finish_reason\":\"tool_"
	  "calls\"}"
	  "]}\r\n\r\ndata: [DONE]\r\n\r\n",
	  { U, U, U, U, U },
	  2,
	  "m3",
	  "c3",
	  "tool_calls",
	  WEIR_USAGE_ESTIMATED },
	{ "vLLM continuous usage is cumulative: the last counts",
	  SSE,
	  "data: "
	  "{\"id\":\"c4\",\"model\":\"m4\",\"choices\":[{\"index\":0,\"text\":\"a\"}],\"usage\":"
	  "{\"prompt_tokens\":5,\"total_tokens\":6,\"completion_tokens\":1}}\n\n"
	  "data: "
	  "{\"id\":\"c4\",\"model\":\"m4\",\"choices\":[{\"index\":0,\"text\":\"b\"}],\"usage\":"
	  "{\"prompt_tokens\":5,\"total_tokens\":7,\"completion_tokens\":2}}\n\n"
	  "data: {\"id\":\"c4\",\"model\":\"m4\",\"choices\":[{\"index\":0,\"text\":\"\","
	  "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"total_tokens\":8,"
	  "\"completion_tokens\":3}}\n\ndata: [DONE]\n\n",
	  { 5, U, U, 3, U },
	  2,
	  "m4",
	  "c4",
	  "stop",
	  WEIR_USAGE_REPORTED },
	{ "SGLang puts reasoning_tokens at the top of usage",
	  JSON,
	  "{\"id\":\"s\",\"model\":\"m\",\"choices\":[{\"finish_reason\":\"stop\",\"matched_stop\":"
	  "151645}],\"usage\":{\"prompt_tokens\":20,\"total_tokens\":90,\"completion_tokens\":70,"
	  "\"prompt_tokens_details\":null,\"reasoning_tokens\":64},\"metadata\":{}}",
	  { 20, U, U, 6, 64 },
	  0,
	  "m",
	  "s",
	  "stop",
	  WEIR_USAGE_REPORTED },
	{ "SGLang native generate",
	  JSON,
	  "{\"text\":\"hello\",\"meta_info\":{\"id\":\"g\",\"finish_reason\":{\"type\":\"length\","
	  "\"length\":16},\"prompt_tokens\":30,\"completion_tokens\":16,\"cached_tokens\":10,"
	  "\"e2e_latency\":0.25}}",
	  { 20, 10, U, 16, U },
	  0,
	  "",
	  "g",
	  "length",
	  WEIR_USAGE_REPORTED },
	{ "llama.cpp stream without include_usage: timings count",
	  SSE,
	  "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"x\"}}],"
	  "\"id\":\"l\",\"model\":\"q\"}\n\ndata: "
	  "{\"choices\":[{\"finish_reason\":\"stop\",\"index\":"
	  "0,\"delta\":{}}],\"id\":\"l\",\"model\":\"q\",\"timings\":{\"cache_n\":236,\"prompt_n\":"
	  "1,"
	  "\"prompt_ms\":30.958,\"predicted_n\":35,\"predicted_ms\":661.064}}\n\ndata: [DONE]\n\n",
	  { 1, 236, U, 35, U },
	  1,
	  "q",
	  "l",
	  "stop",
	  WEIR_USAGE_REPORTED },
	{ "llama.cpp native completion",
	  JSON,
	  "{\"index\":0,\"content\":\"x\",\"tokens\":[],\"stop\":true,\"model\":\"q\","
	  "\"tokens_predicted\":8,\"tokens_evaluated\":11,\"timings\":{\"cache_n\":4,\"prompt_n\":"
	  "7,"
	  "\"predicted_n\":8},\"tokens_cached\":18}",
	  { 7, 4, U, 8, U },
	  0,
	  "q",
	  "",
	  "",
	  WEIR_USAGE_REPORTED },
	{ "OpenAI responses",
	  JSON,
	  "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\"model\":\"gpt-x\","
	  "\"output\":[{\"type\":\"message\",\"id\":\"msg_1\",\"content\":[{\"type\":\"output_"
	  "text\","
	  "\"text\":\"hi\"}]}],\"usage\":{\"input_tokens\":36,\"input_tokens_details\":{"
	  "\"cached_tokens\":6},\"output_tokens\":87,\"output_tokens_details\":{\"reasoning_"
	  "tokens\":"
	  "80},\"total_tokens\":123}}",
	  { 30, 6, U, 7, 80 },
	  0,
	  "gpt-x",
	  "resp_1",
	  "",
	  WEIR_USAGE_REPORTED },
	{ "OpenAI responses, streamed: usage is inside response.completed",
	  SSE,
	  "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":"
	  "\"resp_2\",\"model\":\"gpt-x\",\"usage\":null}}\n\nevent: response.output_text.delta\n"
	  "data: "
	  "{\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"delta\":\"Hi\"}\n\n"
	  "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":"
	  "\"resp_2\",\"model\":\"gpt-x\",\"output\":[],\"usage\":{\"input_tokens\":37,"
	  "\"output_tokens\":11,\"output_tokens_details\":{\"reasoning_tokens\":0}}}}\n\n",
	  { 37, U, U, 11, 0 },
	  1,
	  "gpt-x",
	  "resp_2",
	  "",
	  WEIR_USAGE_REPORTED },
	{ "embeddings have no output and are complete without it",
	  JSON,
	  "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":["
	  "-0.0012,1e-05,3,[],{\"usage\":{\"prompt_tokens\":99}},\"]\"]},{\"embedding\":\"AAECAw=="
	  "\"}]"
	  ",\"model\":\"e5\",\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}",
	  { 8, U, U, U, U },
	  0,
	  "e5",
	  "",
	  "",
	  WEIR_USAGE_REPORTED },
	{ "embeddings without usage are estimated",
	  JSON,
	  "{\"data\":[{\"embedding\":[0.5,0.25]}],\"model\":\"e5\"}",
	  { U, U, U, U, U },
	  0,
	  "e5",
	  "",
	  "",
	  WEIR_USAGE_ESTIMATED },
	{ "Anthropic: cached tokens are beside the input",
	  JSON,
	  "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\","
	  "\"content\":[{\"type\":\"text\",\"text\":\"hi\"}],\"stop_reason\":\"end_turn\","
	  "\"stop_sequence\":null,\"usage\":{\"input_tokens\":20,\"cache_creation_input_tokens\":5,"
	  "\"cache_read_input_tokens\":100,\"cache_creation\":{\"ephemeral_5m_input_tokens\":5},"
	  "\"output_tokens\":7}}",
	  { 20, 100, 5, 7, U },
	  0,
	  "claude-x",
	  "msg_1",
	  "end_turn",
	  WEIR_USAGE_REPORTED },
	{ "Anthropic, streamed: the delta's figures replace the start's",
	  SSE,
	  "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_2\","
	  "\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"claude-x\","
	  "\"stop_reason\":null,\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":0,"
	  "\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":"
	  "\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}"
	  "\n\n"
	  "event: ping\ndata: {\"type\":\"ping\"}\n\nevent: content_block_delta\ndata: {\"type\":"
	  "\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":"
	  "\"Hello\"}}"
	  "\n\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
	  "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
	  "\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":15}}\n\n"
	  "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
	  { 25, 0, U, 15, U },
	  1,
	  "claude-x",
	  "msg_2",
	  "end_turn",
	  WEIR_USAGE_REPORTED },
	{ "Anthropic stream that ends before its delta is partial",
	  SSE,
	  "data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_3\",\"model\":\"claude-x\","
	  "\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n",
	  { 25, U, U, 1, U },
	  0,
	  "claude-x",
	  "msg_3",
	  "",
	  WEIR_USAGE_PARTIAL },
	{ "Ollama chat",
	  "application/x-ndjson",
	  "{\"model\":\"llama3\",\"message\":{\"role\":\"assistant\",\"content\":\"He\"},\"done\":"
	  "false}\n{\"model\":\"llama3\",\"message\":{\"role\":\"assistant\",\"content\":\"y\"},"
	  "\"done\":false}\n{\"model\":\"llama3\",\"message\":{\"role\":\"assistant\",\"content\":"
	  "\"\"},\"done_reason\":\"stop\",\"done\":true,\"total_duration\":4883583458,"
	  "\"prompt_eval_count\":26,\"eval_count\":2}\n",
	  { 26, U, U, 2, U },
	  2,
	  "llama3",
	  "",
	  "stop",
	  WEIR_USAGE_REPORTED },
	{ "Ollama with a cached prompt leaves its count out: unknown, so estimated",
	  "application/x-ndjson",
	  "{\"model\":\"llama3\",\"response\":\"a\",\"done\":false}\n{\"model\":\"llama3\","
	  "\"response\":"
	  "\"\",\"done\":true,\"eval_count\":1}",
	  { U, U, U, 1, U },
	  1,
	  "llama3",
	  "",
	  "",
	  WEIR_USAGE_ESTIMATED },
	{ "data split over lines, all line endings, comments, fields to pass over",
	  SSE,
	  "\xef\xbb\xbf: c\rdata:{\"model\":\rdata:  \"m\",\r\ndata: \"id\":\"i\",\ndata\n"
	  "datum: {\"id\":\"no\"}\ndata : {\"id\":\"no\"}\nevent\rdata: "
	  "\"usage\":{\"prompt_tokens\":1,"
	  "\ndata: \"completion_tokens\":2}}\r\rdata: {\"id\":\"cut",
	  { 1, U, U, 2, U },
	  0,
	  "m",
	  "i",
	  "",
	  WEIR_USAGE_REPORTED },
	{ "usage at the wrong depth or of the wrong type is not usage",
	  JSON,
	  "{\"x\":{\"usage\":{\"prompt_tokens\":1}},\"y\":[{\"usage\":{\"prompt_tokens\":2}}],"
	  "\"usage\":[{\"prompt_tokens\":3}],\"usage\":\"{\\\"prompt_tokens\\\":4}\","
	  "\"usage\":{\"prompt_tokens\":\"5\",\"completion_tokens\":{\"x\":6},\"total_tokens\":"
	  "\"7\"}}",
	  { U, U, U, U, U },
	  0,
	  "",
	  "",
	  "",
	  WEIR_USAGE_NONE },
	{ "the last of two keys wins; an escaped key is the same key",
	  JSON,
	  "{\"model\":\"a\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1},"
	  "\"us\\u0061ge\":"
	  "{\"prompt_tokens\":2,\"prompt_tokens\":3,\"completion\\u005Ftokens\":4},\"model\":"
	  "\"b\"}",
	  { 3, U, U, 4, U },
	  0,
	  "b",
	  "",
	  "",
	  WEIR_USAGE_REPORTED },
	{ "counts are exact up to 2^63 - 1 and unknown beyond",
	  JSON,
	  "{\"usage\":{\"prompt_tokens\":9223372036854775807,\"completion_tokens\":"
	  "9223372036854775808,\"reasoning_tokens\":18446744073709551617}}",
	  { INT64_MAX, U, U, U, U },
	  0,
	  "",
	  "",
	  "",
	  WEIR_USAGE_REPORTED },
	{ "12.0 is a count; -1, 1.5 and 1e3 are not",
	  JSON,
	  "{\"usage\":{\"prompt_tokens\":12.0,\"completion_tokens\":-1,\"cached_tokens\":1.5,"
	  "\"reasoning_tokens\":1e3}}",
	  { 12, U, U, U, U },
	  0,
	  "",
	  "",
	  "",
	  WEIR_USAGE_REPORTED },
	{ "a part larger than its total is cut to it",
	  JSON,
	  "{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":5,\"prompt_tokens_details\":{"
	  "\"cached_tokens\":9},\"completion_tokens_details\":{\"reasoning_tokens\":6}}}",
	  { 0, 5, U, 0, 5 },
	  0,
	  "",
	  "",
	  "",
	  WEIR_USAGE_REPORTED },
	{ "strings are unescaped, cut to fit at a character, and cut at what is not text",
	  JSON,
	  "{\"model\":"
	  "\"0123456789012345678901234567890123456789012345678901234567890\\u00e4\\u00e4\","
	  "\"id\":\"a\\/\\ud83d\\ude00\\u0085b\",\"stop_reason\":\"\\ud83dx\"}",
	  { U, U, U, U, U },
	  0,
	  "0123456789012345678901234567890123456789012345678901234567890\xc3\xa4",
	  "a/\xf0\x9f\x98\x80",
	  "",
	  WEIR_USAGE_NONE },
	{ "choices without usage are estimated",
	  JSON,
	  "{\"model\":\"m\",\"choices\":[{\"text\":\"\"}],\"usage\":null}",
	  { U, U, U, U, U },
	  0,
	  "m",
	  "",
	  "",
	  WEIR_USAGE_ESTIMATED },
	{ "a model list is not metered",
	  JSON,
	  "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\",\"root\":\"m\"}]}",
	  { U, U, U, U, U },
	  0,
	  "",
	  "",
	  "",
	  WEIR_USAGE_NONE },
	{ "a page is not JSON",
	  "text/html",
	  "<html>{\"usage\":{\"prompt_tokens\":1}}</html>",
	  { U, U, U, U, U },
	  0,
	  "",
	  "",
	  "",
	  WEIR_USAGE_NONE },
	{ "broken structure ends belief",
	  JSON,
	  "{\"a\":[1,{\"b\":[}]],\"usage\":{\"prompt_tokens\":1}}",
	  { U, U, U, U, U },
	  0,
	  "",
	  "",
	  "",
	  WEIR_USAGE_NONE },
};

#undef U
#undef JSON
#undef SSE

#endif
