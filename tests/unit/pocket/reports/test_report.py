from pocket.reports.report import of_run, training_row
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tests.conftest import ROOT


def test_the_row_of_a_run_says_what_its_tables_say():
    run = RunDir(ROOT / "tests" / "golden" / "folders" / "finished")
    progress = of_run(run)
    assert progress.step == 40
    assert progress.held_out_losses[40] == float(read_rows(run.validation_csv)[-1]["held_out_loss"])
    losses = [float(row["loss"]) for row in read_rows(run.train_csv)]
    assert progress.train_loss == sum(losses) / 40
    assert training_row("unet", progress).startswith("| unet | 40 | ")
