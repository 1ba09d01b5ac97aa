from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.records import Message
from realm.corpus.document import Document, Origin
from realm.corpus.scrub import Scrubber, Verdict

GITHUB = "ghp" + "_" + "vT3kQz8WmN1xLr5YbC7dHs2JfG9aPe4KuXo6"
STRIPE = "sk_live" + "_" + "9fKw3TzQmXb7RnVcY2LdHs8P"
PASSWORD = "qV7" + "m#Tz9Lw"
KEY = (
    "-----BEGIN RSA PRIVATE" + " KEY-----\n" + "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF8PbnGy0AH\n" * 6
    + "-----END RSA PRIVATE" + " KEY-----"
)  # fmt: skip


@pytest.fixture(scope="module")
def scrubber() -> Scrubber:
    return Scrubber()


def kinds(scrubber: Scrubber, text: str) -> list[str]:
    return [finding.kind for finding in scrubber.scrub_text(text).findings]


@pytest.mark.parametrize(
    "text",
    [
        f"export TOKEN={GITHUB}",
        f"key: {STRIPE}\n",
        f"postgres://svc:{PASSWORD.replace('#', '')}@db.prod.net:5432/app",
        f"redis://:{PASSWORD.replace('#', '')}@cache:6379/0",
        f"sshpass -p '{PASSWORD}' ssh host",
        f"mysql -u root -p{PASSWORD} shop",
        f'curl -u "deploy:{PASSWORD}" https://ci.net/job',
        f"machine api.net login deploy password {PASSWORD}",
        f"machine api.net\n  login deploy\n  password {PASSWORD}\n",
        f"db.net:5432:shop:svc:{PASSWORD}",
        f"the password is {PASSWORD}, change it",
        f"das Passwort lautet {PASSWORD}",
        f"la contraseña es {PASSWORD}",
        f"le mot de passe est {PASSWORD}",
        f"пароль: {PASSWORD}",
        f"密码是 {PASSWORD}",
        f"DB_PASSWORD={PASSWORD}",
        f"password: '{PASSWORD}'",
        f'{{"name": "SMTP_PASSWORD", "value": "{PASSWORD}"}}',
        f"<password>{PASSWORD}</password>",
        f"CREATE USER svc WITH PASSWORD '{PASSWORD}';",
        "Authorization: Basic " + base64.b64encode(f"svc:{PASSWORD}".encode()).decode(),
        f'\\"auth\\": \\"{GITHUB}\\"',
        f"https://api.net/v1?x={GITHUB}&y=1",
        "data: " + base64.b64encode(f"export TOKEN={GITHUB}\n".encode()).decode(),
        base64.b64encode(base64.b64encode(f"export TOKEN={GITHUB}\n".encode())).decode(),
        f'key = "{GITHUB[:17]}" +\n    "{GITHUB[17:]}"',
        f"key={GITHUB[:17]}\\\n  {GITHUB[17:]}",
        f"//api.net/ password%3D%27{''.join(f'%{byte:02X}' for byte in PASSWORD.encode())}%27",
        f"token&#61;&#34;{GITHUB[:20]}&#{ord(GITHUB[20])};{GITHUB[21:]}&#34;",
        "xoxa" + "-37grwg476dmi",
        "Authorization: SSWS " + "00" + "uQ7hXk2mZp9LtR4vB6nC8wY1sD3fG5jH0aKe2MxT",
        f"postgres%3A%2F%2Fsvc%3A{PASSWORD.replace('#', '')}%40db.prod.net%2Fapp",
        KEY,
        KEY.replace("\n", "\\n"),
        KEY.replace("\n", "\\\\n"),
    ],
)
def test_a_secret_does_not_pass(scrubber: Scrubber, text: str) -> None:
    result = scrubber.scrub_text(text)
    assert result.verdict is not Verdict.CLEAN
    if result.verdict is Verdict.REPLACED:
        for secret in (GITHUB, STRIPE, PASSWORD, "ygWyF8PbnGy0AH"):
            assert secret not in result.text


@pytest.mark.parametrize(
    "text",
    [
        "for key in pairs(tokens) do keys[#keys + 1] = key end",
        "if (token_kind == JsonString || token_kind == JsonLargeString) {",
        'api_key = os.environ["API_KEY"]',
        "password: ${DB_PASSWORD}",
        "password = getpass.getpass()",
        "Authorization: Bearer <YOUR_TOKEN>",
        "curl -u user:password https://example.com",
        "postgres://user:password@localhost:5432/db",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        '"integrity": "sha512-9NykojV5Uih4lgo5So5dtw+f0JgJX30KCNI8gwhz2J9A15wD0Ml6tjHKwf6fTSa6fA=="',
        "const id = '3f2504e0-4f89-41d3-9a0c-0305e82c3301';",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "gho_" + "x" * 36,
        "The password is required.",
        "the password is stored hashed",
        "#define ECS_KEY_SIZE 256",
        "mail nobody@example.com from 192.0.2.7 or 10.1.2.3 with version 1.2.3.4",
        "public_key = 9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit",
        "-----BEGIN PUBLIC KEY-----",
        "rookTable = 0023452Lllk2KqjLBvaxANWEgTd7bqjsxjo8aZj0wd",
        "        uses: codecov/codecov-action@57e3a136b779b570ffcdbf80b3bdc90e7fab3de2 # v6",
        '"@algolia/client": ["5.46.2", "sha512-oWknd6wpfNrmRcH0vzed3UPX0i17o4kYLM5OMITyMVM2xLgaRbIafoxL0=="]',
        "    #2 0x00010074ab50 in flecs_token flecs/src/addons/parser/tokenizer.c:606:11",
        'run_tests = { next_on_pass = "merge", next_on_fail = "notify_witness" }',
        "  4. Add as GitHub secret: WINDOWS_SIGNING_CERT_PFX_BASE64",
        "tiles = PackedByteArray("
        + "A" * 23
        + "E"
        + "AAAAAAAAAAAAAAIAAAAAAAAAAAAAAAMAAAAAAAAAAAAAAAQAAAAAAA" * 2
        + ")",
        'if strings.HasPrefix(s, "-----BEGIN RSA PRIVATE' + ' KEY-----") {',
    ],
)
def test_ordinary_text_stays_as_it_is(scrubber: Scrubber, text: str) -> None:
    result = scrubber.scrub_text(text)
    assert (result.text, result.verdict) == (text, Verdict.CLEAN)


def test_positions_are_characters_of_the_text(scrubber: Scrubber) -> None:
    text = f"schlüssel 🔑 ① {GITHUB} ende"
    (finding,) = scrubber.scrub_text(text).findings
    assert text[finding.start : finding.end] == GITHUB
    assert (finding.kind, finding.personal) == ("github_token", False)
    assert scrubber.scrub_text(text).text == "schlüssel 🔑 ① <SECRET:github_token:1> ende"


def test_the_same_value_gets_the_same_number_and_another_the_next(scrubber: Scrubber) -> None:
    other = GITHUB[:-4] + "Zq7W"
    text = scrubber.scrub_text(f"{GITHUB} {other} {GITHUB}").text
    assert text == "<SECRET:github_token:1> <SECRET:github_token:2> <SECRET:github_token:1>"


def test_a_value_that_was_told_once_goes_everywhere(scrubber: Scrubber) -> None:
    secret = "Hk39" + "sPq7Lz"
    text = f"DB_PASSWORD={secret}\nlater somebody wrote {secret} again"
    assert secret not in scrubber.scrub_text(text).text


def test_scrubbing_twice_changes_nothing_more(scrubber: Scrubber) -> None:
    once = scrubber.scrub_text(f"token={GITHUB} from ann@somewhere.org password='{PASSWORD}'").text
    assert scrubber.scrub_text(once) == (once, (), Verdict.CLEAN)


def _document(**changes: object) -> Document:
    origin = Origin(source="logs", kind="chat", path="home/a.jsonl", at=datetime(2026, 1, 1, tzinfo=UTC))
    messages = (Message(role="user", content="hello"), Message(role="assistant", content="yes"))
    return Document.model_validate(
        {"id": "a#1", "form": "chat", "messages": messages, "origin": origin, **changes}
    )


def test_a_document_is_one_unit_with_all_its_strings(scrubber: Scrubber) -> None:
    mail = "ann@somewhere.org"
    document = _document(
        messages=(
            Message(role="user", content=f"my key is {GITHUB}"),
            Message(role="assistant", content=f"{GITHUB} of {mail} works", weight=0.5),
        ),
        fields={"password": PASSWORD, "deep": [{"env": [f"T={STRIPE}", mail]}], mail: 1},
        tags={"who": mail, "level": 3},
        origin=Origin(source="logs", kind="chat", path=f"{mail}/a.jsonl", session=GITHUB),
    )
    result = scrubber.scrub_document(document)
    assert result.verdict is Verdict.REPLACED
    whole = result.document.model_dump_json()
    assert not [secret for secret in (GITHUB, STRIPE, PASSWORD, mail) if secret in whole]
    assert result.document.messages[0].content == "my key is <SECRET:github_token:1>"
    assert result.document.messages[1].content == "<SECRET:github_token:1> of <PERSON:email:1> works"
    assert result.document.messages[1].weight == 0.5
    assert result.document.tags == {"who": "<PERSON:email:1>", "level": 3}
    assert result.document.origin.path == "<PERSON:email:1>/a.jsonl"
    assert {"/messages/0/content", "/fields/password", "/tags/who"} <= {f.where for f in result.findings}


def test_a_clean_document_is_handed_back_itself(scrubber: Scrubber) -> None:
    document = _document()
    assert scrubber.scrub_document(document).document is document


def test_a_key_says_what_its_value_is(scrubber: Scrubber) -> None:
    value = {"rows": [{"db_password": PASSWORD}, {"name": "API_TOKEN", "value": STRIPE[8:]}]}
    result = scrubber.scrub_value(value)
    assert PASSWORD not in json.dumps(result.value)
    assert STRIPE[8:] not in json.dumps(result.value) or result.verdict is Verdict.QUARANTINED


def test_no_finding_reaches_over_two_strings(scrubber: Scrubber) -> None:
    result = scrubber.scrub_value(
        {"a": f"key {GITHUB[:20]}", "b": GITHUB[20:], "c": "password is", "d": PASSWORD}
    )
    assert all(finding.where != "/b" for finding in result.findings)


def test_kinds_of_personal_data_are_chosen() -> None:
    only = Scrubber(Scrubber.Config(personal=("iban",)))
    text = "ann@somewhere.org, /home/annika/x, DE82 5001 0517 0648 4898 91"
    assert [finding.kind for finding in only.scrub_text(text).findings] == ["iban"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to ann.lee@somewhere.org today", "email"),
        ("from 93.184.216.34 port 22", "ip"),
        ("peer 2606:2800:220:1:248:1893:25c8:1946 up", "ip"),
        ("call +49 171 2345 987 now", "phone"),
        ("card 4539 5787 6362 1486", "card"),
        ("IBAN DE82 5001 0517 0648 4898 91", "iban"),
        ("/home/annika/project", "home"),
        ("C:\\Users\\annika\\project", "home"),
        ("file:///mnt/c/Users/annika/project", "home"),
        ('{"cwd": "a\\n/home/annika/project"}', "home"),
    ],
)
def test_personal_data_is_found(scrubber: Scrubber, text: str, kind: str) -> None:
    found = scrubber.scrub_text(text).findings
    assert [(finding.kind, finding.personal) for finding in found] == [(kind, True)]


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:a/b.git",
        "noreply@somewhere.org",
        "logo@2x.png",
        "192.0.2.1 198.51.100.2 203.0.113.3 127.0.0.1 10.0.0.1 172.16.0.1 192.168.1.1 2001:db8:1:2:3:4:5:6",
        "version 93.184.216.34",
        "1.2.3.4.5",
        "sentinel announce-ip 1.2.3.4",
        'assert.Equal(t, "40.40.40.40", c.ClientIP())',
        "** $Id: lauxlib.c,v 1.159.1.3 2008/01/21 13:20:51 roberto Exp $",
        "- Bumped `fastmcp` from 2.13.0.1 to 2.13.0.2",
        "alice@test.com jane@corp.com a@b.com security@somewhere.org",
        'binding_path = "/user/hand/left/input/home/click"',
        "C:/Users/YOUR_USERNAME/AppData https://somewhere.org/home/settings",
        "card 4539 5787 6362 1487",
        "card 4111 1111 1111 1111",
        "GB82 WEST 1234 5698 7654 32",
        "DE83 5001 0517 0648 4898 91",
        "/home/user/x /Users/runner/y",
        "call 555-0123 or +1 555 0100 123",
    ],
)
def test_documentation_values_are_nobody_s(scrubber: Scrubber, text: str) -> None:
    assert kinds(scrubber, text) == []


@pytest.mark.parametrize(
    "text",
    [
        'password := "my-federation-password-123!"',
        'value: "Basic YWRtaW46cGFzc3dvcmQ=",',
        '// "https://x-access-token:ghp_abc@github.com/org/repo"',
        "meraki-api-key: acdeFf05b1a6d4c890237bf08c5e6e8d2b4d0f2e",
    ],
)
def test_what_may_be_an_example_is_asked_about_and_not_replaced(scrubber: Scrubber, text: str) -> None:
    result = scrubber.scrub_text(text)
    assert (result.text, result.verdict) == (text, Verdict.QUARANTINED)


def test_many_values_are_found_again_as_few_are(scrubber: Scrubber) -> None:
    values = [f"{GITHUB[:-3]}{number:03}" for number in range(40)]
    told = "\n".join(f"export TOKEN={value}" for value in values)
    again = " ".join(f"{value};" for value in values)
    result = scrubber.scrub_text(f"{told}\n{again}")
    assert not [value for value in values if value in result.text]
    assert len(result.findings) == 80


def test_what_is_allowed_is_not_found() -> None:
    assert Scrubber(Scrubber.Config(allowed=(GITHUB,))).scrub_text(f"key {GITHUB}").verdict is Verdict.CLEAN


def test_thresholds_decide_between_replacing_and_asking() -> None:
    text = f"key {GITHUB}"
    assert Scrubber(Scrubber.Config(high=1.0)).scrub_text(text).verdict is Verdict.QUARANTINED
    assert Scrubber(Scrubber.Config(high=1.0, middle=0.99)).scrub_text(text).verdict is Verdict.CLEAN
    assert GITHUB in Scrubber(Scrubber.Config(high=1.0)).scrub_text(text).text


@pytest.mark.parametrize("filler", ["ü", "密", "🔑", "\ud800"])
@pytest.mark.parametrize("count", [1, 19, 33, 99, 100, 200, 700])
def test_characters_of_many_bytes_are_never_cut(scrubber: Scrubber, filler: str, count: int) -> None:
    many = filler * count
    for text in (
        f"password: '{many}7q'",
        f"https://u:{many}1@h.org/",
        f"pw is {many}7q!",
        f"{many} {GITHUB}{many}",
    ):
        result = scrubber.scrub_text(text)
        assert all(0 <= finding.start < finding.end <= len(text) for finding in result.findings)
        assert not result.findings or many in text[: result.findings[0].end]


WHOLE = Scrubber()
SAID = st.lists(
    st.sampled_from(
        [
            "the",
            "word",
            "password:",
            "hunter-two",
            GITHUB,
            "10.11.12.13",
            "token =",
            "x7Kq2LmZ9v",
            "\x00",
            "\n",
            "ü",
            "=",
            "-",
        ]
    ),
    max_size=8,
).map(" ".join)


@settings(deadline=None)
@given(st.lists(SAID.filter(str.strip), min_size=1, max_size=3), SAID, SAID)
def test_a_quick_look_at_a_document_finds_what_a_thorough_one_does(
    turns: list[str], group: str, path: str
) -> None:
    scrubber = WHOLE
    document = Document(
        id=f"{path}#1",
        form="chat",
        messages=tuple(Message(role="user", content=turn) for turn in turns),
        group=group,
        origin=Origin(source="s", kind="chat_jsonl", path=path),
    )
    quick = scrubber.scrub_document(document)
    thorough = scrubber.scrub_document(document.model_copy(update={"fields": {"n": 1}}))
    assert quick.verdict is thorough.verdict
    assert quick.document == thorough.document.model_copy(update={"fields": {}})
    assert [(one.kind, one.start, one.end) for one in quick.findings] == [
        (one.kind, one.start, one.end) for one in thorough.findings
    ]
