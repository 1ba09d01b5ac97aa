"""Measure the scrubber: speed on rows of 1 KB, recall and precision, false alarms in real source trees.

The generated set has other providers and contexts than the labelled file, so that both together show
what was learnt from public formats and what from the file. CPU time of one process; one JSON document.

.venv/bin/python benchmarks/scrub.py --labelled FILE
.venv/bin/python benchmarks/scrub.py --labelled FILE --half 1
.venv/bin/python benchmarks/scrub.py --tree FOLDER --tree FOLDER
.venv/bin/python benchmarks/scrub.py --git GIT_DIRECTORY --git GIT_DIRECTORY
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import random
import string
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from realm.core.records import Message
from realm.core.seeds import fraction, rng
from realm.corpus.document import Document, Origin
from realm.corpus.repos.gitfiles import GitFiles
from realm.corpus.scrub import Scrubber
from realm.corpus.scrubbing.prefilter import Engine
from realm.corpus.scrubbing.score import Score, score

ALNUM = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase + string.digits
UPPER = string.ascii_uppercase + string.digits
HEX = "0123456789abcdef"
URLSAFE = ALNUM + "-_"
ROW_CHARACTERS = 1100

TOKENS = (
    ("ghp" + "_", ALNUM, 36),
    ("github" + "_pat_", ALNUM, 82),
    ("glpat" + "-", URLSAFE, 20),
    ("AKI" + "A", string.ascii_uppercase + "234567", 16),
    ("AIz" + "a", URLSAFE, 35),
    ("GOCSPX" + "-", URLSAFE, 28),
    ("LTAI", ALNUM, 20),
    ("AKID", ALNUM, 32),
    ("dop_v1" + "_", HEX, 64),
    ("sk_live" + "_", ALNUM, 24),
    ("rzp_live" + "_", ALNUM, 14),
    ("xkeysib" + "-", HEX, 64),
    ("xoxb" + "-", string.digits, 12),
    ("hf" + "_", string.ascii_letters, 34),
    ("gsk" + "_", ALNUM, 52),
    ("r8" + "_", ALNUM, 37),
    ("pplx" + "-", ALNUM, 48),
    ("tvly" + "-", ALNUM, 32),
    ("fc" + "-", HEX, 32),
    ("npm" + "_", ALNUM, 36),
    ("rubygems" + "_", HEX, 48),
    ("dckr_pat" + "_", URLSAFE, 27),
    ("oy2", LOWER, 43),
    ("hvs" + ".", URLSAFE, 90),
    ("pul" + "-", HEX, 40),
    ("dp.pt" + ".", ALNUM, 43),
    ("NRAK" + "-", UPPER, 27),
    ("phc" + "_", ALNUM, 43),
    ("sntryu" + "_", HEX, 64),
    ("glsa" + "_", ALNUM, 32),
    ("lin_api" + "_", ALNUM, 40),
    ("ntn" + "_", ALNUM, 46),
    ("figd" + "_", URLSAFE, 40),
    ("PMAK" + "-", HEX, 24),
    ("shpat" + "_", HEX, 32),
    ("tskey-auth" + "-", ALNUM, 11),
    ("e2b" + "_", HEX, 40),
    ("sbp" + "_", HEX, 40),
    ("whsec" + "_", ALNUM, 32),
)
TAILS = {
    "xoxb" + "-": ("-", string.digits, 13, "-", ALNUM, 24),
    "xkeysib" + "-": ("-", ALNUM, 16),
    "glsa" + "_": ("_", HEX, 8),
    "PMAK" + "-": ("-", HEX, 34),
    "tskey-auth" + "-": ("CNTRL-", ALNUM, 32),
}
HOLDERS = (
    "{v}",
    "export SERVICE_KEY={v}",
    "  api_token: {v}\n  retries: 3",
    'const client = createClient("{v}", {{ timeout: 30 }});',
    "Ich habe {v} benutzt, hat nicht geklappt",
    "see https://hooks.internal.example/run?x={v}&y=1",
    '{{\\"auth\\": \\"{v}\\"}}',
    "| prod | {v} | rotated in May |",
    "ERROR 401 for token={v} after 3 tries",
    "git clone https://oauth2:{v}@git.example.org/a/b.git",
    "<entry><value>{v}</value></entry>",
    "ENV TOKEN {v}",
)
PASSWORD_HOLDERS = (
    "postgres://svc:{v}@db.prod.example.org:5432/app",
    "amqp://worker:{v}@mq:5672/%2f",
    "redis://:{v}@cache:6379/0",
    "mongodb+srv://app:{v}@cluster0.example.mongodb.net/test",
    "sshpass -p '{v}' ssh deploy@host",
    "mysql -u root -p{v} -h 10.0.0.3 shop",
    'curl -u "deploy:{v}" https://ci.example.org/job',
    "machine api.example.org login deploy password {v}",
    "db.example.org:5432:shop:svc:{v}",
    "the password is {v}, please change it",
    "das Passwort lautet {v}",
    "la contraseña es {v}",
    "le mot de passe est {v}",
    "пароль: {v}",
    "密码是 {v}",
    "spring.datasource.password={v}\nspring.datasource.username=svc",
    'DB_PASSWORD="{v}"',
    "password: '{v}'",
    "<password>{v}</password>",
    "ALTER USER svc WITH PASSWORD '{v}';",
    "Server=db;Database=shop;User Id=svc;Password={v};",
    "redis-cli -h cache -a {v} ping",
    "docker login -u ci -p {v} registry.example.org",
    "echo '{v}' | sudo -S apt update",
    "define('DB_PASSWORD', '{v}');",
    "  - name: SMTP_PASSWORD\n    value: {v}",
)
CLEAN = (
    'func (s *Store) Get(ctx context.Context, key string) (*Item, error) {{',
    "commit {sha1}",
    '"integrity": "sha512-{b64}"',
    "const id = '{uuid}';",
    "golang.org/x/net v0.17.0 h1:{b64}",
    "sha256:{sha256}  dist.tar.gz",
    "token := lexer.Next() // returns the next token",
    "if password == nil || len(password) < minimum {{ return errors.New(\"password too short\") }}",
    "password: ${{DB_PASSWORD}}",
    'api_key = os.environ["API_KEY"]',
    "The password is stored as a salted hash.",
    "Authorization: Bearer <YOUR_TOKEN>",
    "curl -u user:password https://example.com",
    "postgres://user:password@localhost:5432/db",
    "static const char *secret_names[] = {{ \"alpha\", \"beta\" }};",
    "#define KEY_LENGTH 256",
    "self.access_token = response.json()['access_token']",
    "See RFC 5737: 192.0.2.1 and 198.51.100.7 are for documentation.",
    "Version 10.4.2.1 fixes the crash on start.",
    "mail test@example.com or call the extension",
    'private_key_path: "/etc/ssl/private/server.key"',
    "$ ssh-keygen -t ed25519 -C comment",
    'primaryKey: "customer_id", foreignKey: "order_id"',
    "Cache-Control: max-age=31536000\nETag: \"{sha1}\"",
    "export AWS_PROFILE=staging AWS_REGION=eu-central-1",
    "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
    "local keys = {{}} for key in pairs(tokens) do keys[#keys+1] = key end",
    "build-id: {sha1}",
    "<img src=\"data:image/png;base64,{b64}\">",
    "background: url(/static/app.{sha8}.css)",
)  # fmt: skip


def drawn(random_: random.Random, alphabet: str, length: int) -> str:
    return "".join(random_.choice(alphabet) for _ in range(length))


def token(random_: random.Random, prefix: str, alphabet: str, length: int) -> str:
    value = prefix + drawn(random_, alphabet, length)
    tail = TAILS.get(prefix, ())
    for at in range(0, len(tail), 3):
        sign, letters, count = tail[at : at + 3]
        value += str(sign) + drawn(random_, str(letters), int(count))
    return value


def generated(seed: int) -> list[dict[str, object]]:
    random_ = rng("benchmarks/scrub", seed)
    rows: list[dict[str, object]] = []
    for prefix, alphabet, length in TOKENS:
        for holder in random_.sample(HOLDERS, 4):
            value = token(random_, prefix, alphabet, length)
            rows.append({"text": holder.format(v=value), "label": "secret", "secret": value})
        value = token(random_, prefix, alphabet, length)
        coded = base64.b64encode(f"export TOKEN={value}\n".encode()).decode()
        rows.append({"text": f"data:\n  env: {coded}", "label": "secret", "secret": coded})
        half = len(value) // 2
        text = f'key = "{value[:half]}" +\n      "{value[half:]}"'
        rows.append({"text": text, "label": "secret", "secret": None})
    for holder in PASSWORD_HOLDERS:
        for symbols in ("", "!#%", "_-."):
            value = (
                drawn(random_, ALNUM, 6)
                + drawn(random_, string.digits, 2)
                + drawn(random_, symbols or ALNUM, 1)
            )
            value = random_.choice(string.ascii_letters) + value + drawn(random_, ALNUM, 2)
            rows.append({"text": holder.format(v=value), "label": "secret", "secret": value})
    for holder in CLEAN:
        texts = [holder.format(**_noise(random_)) for _ in range(6)]
        rows += [{"text": text, "label": "clean", "secret": None} for text in texts]
    return rows


def _noise(random_: random.Random) -> dict[str, str]:
    uuid = "-".join(drawn(random_, HEX, count) for count in (8, 4, 4, 4, 12))
    return {
        "sha1": drawn(random_, HEX, 40),
        "sha256": drawn(random_, HEX, 64),
        "sha8": drawn(random_, HEX, 8),
        "b64": base64.b64encode(random_.randbytes(48)).decode(),
        "uuid": uuid,
    }


def scored(rows: list[dict[str, object]], scrubber: Scrubber) -> Score:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return score(file, scrubber)


def speed(engine: Engine, texts: list[str]) -> dict[str, float]:
    """Megabytes a second of CPU time on rows of 1 KB, as texts and as documents, warm: the best of five."""
    began = time.process_time()
    scrubber = Scrubber(Scrubber.Config(engine=engine))
    scrubber.prepare()
    built = time.process_time() - began
    documents = [document(text) for text in texts]
    size = sum(len(text.encode()) for text in texts)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(5):
        began = time.process_time()
        found = sum(bool(scrubber.scrub_text(text).findings) for text in texts)
        times[0].append(time.process_time() - began)
        began = time.process_time()
        for one in documents:
            scrubber.scrub_document(one)
        times[1].append(time.process_time() - began)
    return {
        "mb_per_s": round(size / 1e6 / min(times[0]), 1),
        "documents_mb_per_s": round(size / 1e6 / min(times[1]), 1),
        "build_s": round(built, 2),
        "rows_with_findings": round(found / len(texts), 4),
    }


def document(text: str) -> Document:
    """Return a chat of one question and one answer that hold a text."""
    half = len(text) // 2
    return Document(
        id="a#1",
        form="chat",
        messages=(
            Message(role="user", content=text[:half]),
            Message(role="assistant", content=text[half:]),
        ),
        origin=Origin(source="logs", kind="chat", path="a.jsonl", at=datetime(2026, 1, 1, tzinfo=UTC)),
    )


def rows_of_git(directories: list[Path], most: int) -> list[str]:
    """Cut the text files of some commits into rows of 1.1 KB and draw some of each repository."""
    rows: list[str] = []
    for directory in directories:
        own: list[str] = []
        files = GitFiles(directory, "HEAD", directory.parent.name)
        for blob in files.list():
            content = (files.read(blob.oid) or b"") if blob.size_bytes else b""
            if len(content) <= 1_000_000 and b"\x00" not in content:
                text = content.decode("utf-8", "replace")
                own += [text[at : at + ROW_CHARACTERS] for at in range(0, len(text), ROW_CHARACTERS)]
        own = [row for row in own if len(row) >= 1000]
        rows += rng("benchmarks/scrub/git", directory.parent.name).sample(own, min(len(own), most))
    return rows


def with_few_findings(texts: list[str]) -> list[str]:
    """Leave out rows until a hundredth of them has findings."""
    scrubber = Scrubber()
    clean, dirty = list[str](), list[str]()
    for text in texts:
        (dirty if scrubber.scrub_text(text).findings else clean).append(text)
    return [*clean, *dirty[: len(clean) // 100]]


def rows_of_code(folders: list[Path]) -> list[str]:
    rows = []
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.suffix in (".py", ".md", ".c", ".h", ".go", ".lua", ".js", ".yaml"):
                text = file.read_text(encoding="utf-8", errors="replace")
                rows += [text[at : at + ROW_CHARACTERS] for at in range(0, len(text), ROW_CHARACTERS)]
    return [row for row in rows if len(row) >= 1000]


def in_tree(folder: Path, scrubber: Scrubber) -> dict[str, object]:
    """Count findings a megabyte of a source tree; kinds alone, no values."""
    kinds: Counter[str] = Counter()
    size = 0
    for text in rows_of_code([folder]):
        size += len(text.encode())
        for one in scrubber.scrub_text(text).findings:
            if not one.personal:
                kinds[f"{'replaced' if one.confidence >= 0.8 else 'in doubt'} {one.kind}"] += 1
    return {"mb": round(size / 1e6, 2), "findings": dict(kinds.most_common())}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--labelled", type=Path)
    arguments.add_argument("--half", type=int, choices=(0, 1), help="only the seeded half; 1 was held out")
    arguments.add_argument("--tree", type=Path, action="append", default=[])
    arguments.add_argument("--git", type=Path, action="append", default=[], help="a bare git directory")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    scrubber = Scrubber()
    folders = given.tree or ([] if given.git else [Path(__file__).parents[1] / "src"])
    code = with_few_findings([*rows_of_code(folders), *rows_of_git(given.git, 1200)])
    result: dict[str, object] = {
        "rules": len(scrubber._finder.rules),
        "hyperscan": speed("hyperscan", code),
        "re2": speed("re2", code),
        "generated": scored(generated(given.seed), scrubber).model_dump(),
    }
    if given.labelled:
        opener = gzip.open if given.labelled.suffix == ".gz" else open
        with opener(given.labelled, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        if given.half is not None:
            rows = [row for row in rows if (fraction("dev-half", row["id"]) >= 0.5) == bool(given.half)]
        result["labelled"] = scored(rows, scrubber).model_dump()
    result["trees"] = {str(folder): in_tree(folder, scrubber) for folder in given.tree}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
