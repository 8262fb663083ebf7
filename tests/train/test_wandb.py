"""Servers of Weights & Biases that stop to answer, at once or in the middle of a run."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

VAE = [
    "train-vae", "data=shapes", "data.count=40", "data.size=16", "resolution=16",
    "vae.widths=[16]", "vae.groups=8", "batch_size=8", "limit.minutes=null", "limit.pictures=64",
    "every.log=8", "run=w", "track=wandb",
]  # fmt: skip
ME = {"id": "e", "name": "me"}
BUCKET = {
    "id": "b", "name": "w", "displayName": "w", "config": "{}", "historyLineCount": 0,
    "project": {"id": "p", "name": "dmtool", "entity": ME},
}  # fmt: skip
ANSWERS = {
    "viewer": {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}},
    "model": {"id": "m", "name": "dmtool", "entity": ME, "bucket": None},
    "upsertBucket": {"bucket": BUCKET, "inserted": True},
}


class Server(ThreadingHTTPServer):
    """Answers what a run's start asks, if at all, and nothing from then on."""

    def __init__(self, answers):
        self.silent, self.closing = not answers, threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        server.silent |= self.path != "/graphql" or b"ServerFeatures" in body
        if server.silent:
            server.closing.wait()
            return
        answer = json.dumps({"data": ANSWERS}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST

    def log_message(self, *words):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(("answers", "says", "kept"), [
    (False, "wandb's server does not answer", "offline-run-*"),
    (True, "wandb's server has not taken all of the run", "run-*"),
])  # fmt: skip
def test_a_silent_server_does_not_stop_a_training(
    dmtool, tmp_path, monkeypatch, answers, says, kept
):
    server = Server(answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    try:
        done = dmtool(*VAE, "wandb.timeout=6", cwd=tmp_path)
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
    stage = tmp_path / "runs/w/vae"
    (line,) = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if says in line]
    (folder,) = (stage / "wandb").glob(kept)
    assert f"wandb sync --append {folder.relative_to(tmp_path)}" in line and list(
        folder.glob("*.wandb")
    )
    lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    assert [line["pictures"] for line in lines if "loss" in line] == list(range(8, 65, 8))
