// SPDX-License-Identifier: Apache-2.0
//
// node's own fetch: requests one after the other, on connections it keeps.
//
//   node fetch.mjs URL API_KEY BODY…      a line {"status","retry_after","body"} each
const [url, key, ...bodies] = process.argv.slice(2);
for (const body of bodies) {
  const answer = await fetch(url, { method: "POST", body, headers: {
    authorization: `Bearer ${key}`, "content-type": "application/json" } });
  console.log(JSON.stringify({ status: answer.status,
                               retry_after: answer.headers.get("retry-after"),
                               body: await answer.text() }));
}
