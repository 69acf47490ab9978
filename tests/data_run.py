"""An invented run with a real data set: pictures with captions, a mask, near-duplicates, and what training recorded."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from examples.fake_run.pictures import COLORS, draw_kimono
from examples.fake_run.run import FakeRun
from shared.config.dumping import dump_config
from shared.data import dataset
from shared.data.sources import ScanReport
from shared.files.replacing import replace_file
from shared.run_folder.records.run_record import RunRecord
from shared.run_folder.tables import DATA_COLUMNS, write_rows

HELD_OUT, LEFT_OUT = "p003", "p004"
HOSTILE = 'a <img src=x onerror="alert(1)"> **kimono**, `red`'


def give_data(fake: FakeRun, folder: Path, count: int) -> Path:
    """Fill `folder` with so many captioned pictures, and make them the data set of the run; returns the folder."""
    folder.mkdir(parents=True)
    colors = ("red", "blue", "green")
    for number in range(count):
        size = (96, 64) if number % 5 == 0 else (64, 96)
        draw_kimono(f"kimono/{[*COLORS][number % len(COLORS)]}-{number}", number).resize(size).save(
            folder / f"p{number:03d}.png"
        )
        caption = HOSTILE if number == 1 else f"1girl, {colors[number % 3]} kimono, studio, number {number}"
        (folder / f"p{number:03d}.txt").write_text(caption, encoding="utf-8")
    (folder / "p002.txt").unlink()
    Image.linear_gradient("L").resize((64, 96)).save(folder / f"{HELD_OUT}.mask.png")
    data = fake.config.data.model_copy(update={"path": str(folder), "trigger_word": "ohwx"})
    config = fake.config.model_copy(update={"data": data})
    replace_file(fake.run.config, dump_config(config).encode())
    pairs = dataset.look(data, dataset.cache_dir(config), ScanReport())
    dataset.inventory(pairs, folder=folder).write(fake.run.dataset)
    record = RunRecord.read(fake.run.record)
    described = record.dataset.model_copy(update={"held_out": (HELD_OUT,), "set_apart": (LEFT_OUT,)})
    record.model_copy(update={"dataset": described}).write(fake.run.record)
    rows = [
        {
            "id": pair.id,
            "split": {HELD_OUT: "held_out", LEFT_OUT: "left_out"}.get(pair.id, "train"),
            "bucket": "512×768",
            "tokens": len(pair.caption.split()),
            "tokens_cut": 7 if pair.id == "p005" else 0,
            "alike": HELD_OUT if pair.id in (HELD_OUT, LEFT_OUT) else "",
        }
        for pair in pairs
    ]
    write_rows(fake.run.dataset_csv, DATA_COLUMNS, rows)
    return folder
