-- SPDX-License-Identifier: Apache-2.0
-- What wrk sends: one chat completion after the other.
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer sk-acme"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"model": "llama-3.3-70b-instruct", "max_tokens": 2, "messages": [{"role": "user", "content": "one two three"}]}'
