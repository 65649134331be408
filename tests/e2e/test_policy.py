# SPDX-License-Identifier: Apache-2.0
"""A policy is taken as a whole or not at all."""
import copy
import json

import jsonschema
import pytest
from weirlab import ROOT, policy
from weirlab.lab import BUILD, run
from weirlab.clients import Sdk

TIERS = {"slow": {"requests": {"per_minute": 60, "burst": 2}}, "open": {}}
GOOD = policy.document(TIERS, {"acme": ("slow", "sk-acme"), "zeta": ("open", "sk-zeta")})
FILE = "10-policy.json"


def changed(path, value):
    """GOOD with one value replaced (or added), as text; path is slash separated."""
    document = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    node = document
    for name in parents:
        node = node[int(name)] if isinstance(node, list) else node[name]
    node[last] = value
    return json.dumps(document)


ONE_KEY = policy.hash_key("sk-acme")
BAD = {
    "unknown field": (changed("tiers/slow/reqests", 3), "reqests"),
    "wrong type": (changed("tiers/slow/concurrency", "two"), "two"),
    "float for a count": (changed("tiers/slow/concurrency", 1.5), "1.5"),
    "negative": (changed("tiers/slow/concurrency", -1), "-1"),
    "overflow": (changed("tiers/slow/requests", {"per_minute": 10**19}), "per_minute"),
    "price overflow": (changed("rate_cards/0/models/0/price", {"input": "9" * 30, "per": 1}),
                       "input"),
    "price as a float": (changed("rate_cards/0/models/0/price", {"input": 0.5, "per": 1}), "input"),
    "unknown tier": (changed("tenants/acme/tier", "gold"), "gold"),
    "bad name": (changed("tenants/Ac me", {"tier": "open"}), "Ac me"),
    "key of two tenants": (changed("tenants/zeta/keys", [ONE_KEY]), "zeta"),
    "prefix of two tenants": (changed("tenants", {
        "a": {"tier": "open", "sources": ["10.1.0.0/16"]},
        "b": {"tier": "open", "sources": ["10.1.0.0/16"]}}), "10.1.0.0/16"),
    "host bits": (changed("tenants/acme/sources", ["10.1.0.1/16"]), "10.1.0.1/16"),
    "no tokens at all": (changed("tiers/slow/max_output_tokens", 0), "max_output_tokens"),
    "unknown protocol rule": (changed("tiers/slow/other_protocols", "tunnel"), "tunnel"),
    "degrade to nothing": (changed("tiers/slow", {"credit": "hard", "on_exhausted": "degrade"}),
                           "fallback_model"),
    "degrade without credit": (changed("tiers/slow", {
        "on_exhausted": "degrade", "fallback_model": "small"}), "credit"),
    "model that breaks JSON": (changed("tiers/slow/fallback_model", 'a"b'), "fallback_model"),
    "burst past 32 bits": (changed("tiers/slow/requests", {"per_second": 9, "burst": 2**32}),
                           "4294967296"),
    "half-open past 16 bits": (changed("tiers/slow/half_open", 65536), "65536"),
    "cap of nothing": (changed("tiers/slow/request_cost_cap", "0"), "request_cost_cap"),
    "unknown abort": (changed("tiers/slow/abort", "half"), 'tiers.slow.abort: "half"'),
    "retries that are no yes or no": (changed("tiers/slow/bill_retries", 1),
                                      "tiers.slow.bill_retries: 1"),
    "cache hits of nothing": (changed("tenants/acme/overrides", {"bill_cache_hits": None}),
                              "tenants.acme.overrides.bill_cache_hits: null"),
    "credit of a service": (changed("tiers/slow/services", {"chat": {"credit": "hard"}}),
                            "services.chat.credit"),
    "unknown parent": (changed("tenants/acme/parent", "zetta"), 'did you mean "zeta"'),
    "circle of parents": (changed("tenants", {
        "a": {"tier": "open", "parent": "b"}, "b": {"tier": "open", "parent": "a"}}),
        "a -> b -> a"),
    "not a hash": (changed("tenants/acme/keys", ["sk-plain"]), "keys"),
    "duplicate key": (json.dumps(GOOD).replace('"open": {}', '"open": {}, "open": {}'), "open"),
    "not JSON": (json.dumps(GOOD)[:-1], FILE),
    "empty": ("", FILE),
    "an array": ("[]", FILE),
}

# What bodies are held to; `tenant show` says the same words.
FORMS = {"max_input_tokens": 32768, "max_output_tokens": 4096, "on_max_output": "refuse",
         "credit": "hard", "on_exhausted": "degrade", "fallback_model": "small",
         "other_protocols": "pass"}

BILLING = {"abort": "full", "bill_retries": False, "bill_cache_hits": False}

LEVELS = {"half_open": 16, "request_cost_cap": "0.5",
          "services": {"chat": {"concurrency": 2, "requests": {"per_second": 9}, "shadow": True},
                       "embed": None}}


@pytest.fixture(scope="module")
def running(request):
    from weirlab import Lab
    with Lab() as lab:
        lab.start_server()
        lab.start_agent(GOOD)
        yield lab
    assert lab.leftovers() == []


@pytest.mark.parametrize("name", BAD)
def test_bad_policy_changes_nothing_and_says_where(running, name):
    lab = running
    text, word = BAD[name]
    before = lab.ctl("policy", "show")
    folder = lab.write_policy(text, "bad")
    for verb in ("check", "apply"):
        done = lab.weirctl("policy", verb, folder, check=False)
        assert done.returncode == 1, done.stdout
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("weirctl: ")
        assert FILE in lines[0] and word in lines[0], lines[0]
    assert lab.ctl("policy", "show") == before


def test_good_policy_takes_effect_at_once(lab):
    lab.start_agent(GOOD)
    sdk = Sdk(lab, "sk-acme")
    assert [sdk.call(tokens=1)["ok"] for _ in range(3)] == [True, True, False]
    new = copy.deepcopy(GOOD)
    new["tenants"]["acme"]["tier"] = "open"
    new["tenants"]["added"] = {"tier": "open", "keys": [policy.hash_key("sk-added")]}
    del new["tenants"]["zeta"]
    assert lab.weirctl("policy", "apply", lab.write_policy(new)).returncode == 0
    assert all(sdk.call(tokens=1)["ok"] for _ in range(5))
    assert Sdk(lab, "sk-added").call(tokens=1)["ok"]
    assert Sdk(lab, "sk-zeta").call(tokens=1)["error"]["status"] == 401


def test_limits_of_bodies_and_protocols_are_shown(lab):
    lab.start_agent(json.loads(changed("tiers/slow", {**FORMS, **BILLING})))
    shown = lab.ctl("tenant", "show", "acme")["limits"]
    assert {name: shown[name] for name in FORMS | BILLING} == FORMS | BILLING
    plain = lab.ctl("tenant", "show", "zeta")["limits"]
    assert plain["max_output_tokens"] is None and plain["fallback_model"] is None
    assert (plain["on_max_output"], plain["on_exhausted"], plain["other_protocols"]) == (
        "rewrite", "reject", "refuse")
    assert [plain[name] for name in BILLING] == ["produced", True, True]
    assert lab.ctl("policy", "show")["tiers"]["slow"] == FORMS | BILLING
    text = lab.weirctl("tenant", "show", "acme").stdout
    assert "max output tokens" in text and "fallback model" in text and "degrade" in text


def dump(lab, name):
    """A pinned map, key and value as the kernel's types say they are."""
    done = run("bpftool", "-j", "map", "dump", "pinned", lab.pins / "maps" / name)
    return [item["formatted"] for item in json.loads(done.stdout)]


def test_names_rules_and_forms_in_the_kernel_follow_policy_and_restart(lab):
    same = policy.document({"slow": FORMS, "open": {}}, {
        "acme": ("slow", "sk-acme"), "twin": ("slow", "sk-twin"), "zeta": ("open", "sk-zeta")})

    def names():
        return {item["key"]["name"]: item["value"] for item in dump(lab, "names")}

    def rules():
        index = {number: name for name, number in names().items()}
        return {index[t["key"]]: t["value"]["rules"] for t in dump(lab, "tenants")
                if t["key"] in index}

    lab.start_agent(same)
    before, held = names(), rules()
    assert set(before) == {"acme", "twin", "zeta"}
    assert held["acme"] == held["twin"] != 0 and held["zeta"] == 0
    whole = dump(lab, "rules")[held["acme"]]["value"]
    entry = dict(whole)
    written = {what: "".join(c if isinstance(c, str) else chr(c) for c in entry.pop(what)).rstrip()
               for what in ("tokens_text", "model_text")}
    assert entry == {"max_input_tokens": 32768, "max_output_tokens": 4096, "flags": 3,
                     "fallback_len": 5, "fallback_model": "small"}
    assert written == {"tokens_text": "4096", "model_text": 'small"'}
    settings = dump(lab, "settings")[0]["value"]
    assert settings["n_free_paths"] == 10 and settings["n_trusted"] == 0
    assert settings["hash_key"] and settings["hash_key"] != settings["maps_id"]

    # The agent dies; policy and agent.json change before the next one starts.
    lab.kill_agent()
    other = copy.deepcopy(same)
    del other["tenants"]["twin"]
    other["tenants"]["added"] = {"tier": "slow", "overrides": {"max_output_tokens": 1}}
    lab.start_agent(other, free_paths=["/up"], trusted_sources=["10.9.0.0/16"],
                    head_timeout_ms=2000)
    after, now = names(), rules()
    assert set(after) == {"acme", "zeta", "added"}
    assert after["acme"] == before["acme"] and now["acme"] == held["acme"]
    assert now["added"] not in (0, now["acme"])
    again = dump(lab, "settings")[0]["value"]
    assert again["hash_key"] == settings["hash_key"]
    assert again["n_free_paths"] == 1 and again["free_paths"][0]["len"] == 3
    assert again["n_trusted"] == 1 and again["trusted"][0]["lo"] == 0xffff0a090000
    assert again["head_timeout_ns"] == 2 * 10**9
    assert dump(lab, "rules")[now["acme"]]["value"] == whole


def test_maps_of_another_abi_are_told_and_detach_cures(lab):
    from weirlab import LabError
    lab.write_policy(GOOD)
    lab.write_config(nats=False)
    lab.made_agent = True
    settings = lab.pins / "maps" / "settings"
    settings.parent.mkdir(parents=True)
    # As version 1 had it: shorter, abi_version first.
    value = ["01", "00", "00", "00"] + ["00"] * 4092
    run("bpftool", "map", "create", settings, "type", "array", "key", 4, "value", len(value),
        "entries", 1, "name", "settings")
    run("bpftool", "map", "update", "pinned", settings, "key", "hex", "00", "00", "00", "00",
        "value", "hex", *value)
    with pytest.raises(LabError, match="are of ABI 1, this agent speaks 5; run weir-agent "
                                       "--detach"):
        lab.start_agent()
    run(BUILD / "weir-agent", "--detach", "--config", lab.config_path)
    lab.start_agent()
    assert Sdk(lab, "sk-acme").call(tokens=1)["ok"]


def test_bad_policy_at_start_is_one_line_and_no_start(lab):
    from weirlab import LabError
    with pytest.raises(LabError, match="reqests"):
        lab.start_agent(BAD["unknown field"][0])
    assert Sdk(lab, "sk-acme").call(tokens=1)["ok"], "traffic was cut"


def test_default_policies_fit_their_schema_and_are_taken(lab):
    folder = ROOT / "policies"
    (schema_path,) = folder.rglob("policy.schema.json")
    schema = json.loads(schema_path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    files = sorted(p for p in folder.glob("*.json") if p != schema_path)
    assert files
    for path in files:
        validator.validate(json.loads(path.read_text()))
    for name in ("unknown field", "wrong type", "not a hash", "no tokens at all",
                 "unknown protocol rule", "burst past 32 bits", "half-open past 16 bits",
                 "cap of nothing", "credit of a service", "degrade to nothing", "degrade without credit",
                 "model that breaks JSON"):
        assert not validator.is_valid(json.loads(BAD[name][0])), name
    assert validator.is_valid(GOOD)
    assert validator.is_valid(json.loads(changed("tiers/slow", FORMS)))
    assert validator.is_valid(json.loads(changed("tiers/slow", LEVELS)))
    assert validator.is_valid(json.loads(changed("tenants/acme/parent", "zeta")))
    whole = {}
    for path in files:
        for name, value in json.loads(path.read_text()).items():
            whole.setdefault(name, value)
    assert {"free", "pro", "enterprise"} <= set(whole["tiers"]) and whole["rate_cards"]
    lab.start_agent(GOOD)
    assert lab.weirctl("policy", "check", folder).returncode == 0
