"""Pictures in a data set's folder that are not data: samples and logs of a training, control pictures, masks in
folders.

They have no caption; with a trigger word they would be trained on by mistake.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from shared.data.sources.mask_files import without_mask
from shared.data.sources.names import key
from shared.data.sources.pair import Pair
from shared.data.sources.scan_report import ScanReport
from shared.data.sources.text_files import KOHYA_FOLDER

FOLDERS_NAMED = 4


def passed_over(pairs: Sequence[Pair], report: ScanReport) -> list[Pair]:
    """The pairs without strays; adds notices of the strays and removes them from `report.uncaptioned`.

    Strays are pictures of the subject without a caption: outside kohya's folders if there are some,
    and all of a folder where each has the name of a captioned picture in another.
    """
    subject = [pair for pair in pairs if not pair.is_regularization]
    left_out = {*_outside_kohya_folders(subject, report), *_named_as_others(subject, report)}
    for image in left_out:
        report.uncaptioned.pop(image, None)
    return [pair for pair in pairs if pair.image not in left_out]


def _outside_kohya_folders(subject: Sequence[Pair], report: ScanReport) -> list[Path]:
    outside = [pair for pair in subject if not any(map(KOHYA_FOLDER.fullmatch, PurePosixPath(pair.id).parent.parts))]
    if len(outside) == len(subject):
        return []
    strays = [pair for pair in outside if pair.image in report.uncaptioned]
    if strays:
        counts = Counter(str(pair.image.parent) for pair in strays)
        named = ", ".join(list(counts)[:FOLDERS_NAMED])
        more = f" and {len(counts) - FOLDERS_NAMED} more folders" if len(counts) > FOLDERS_NAMED else ""
        report.notices.append(
            f"{len(strays)} picture(s) without caption outside the folders <repeats>_<class> are not used, in "
            f"{named}{more}"
        )
    return [pair.image for pair in strays]


def _named_as_others(subject: Sequence[Pair], report: ScanReport) -> list[Path]:
    bare = {*report.uncaptioned, *report.named_by_folder}
    captioned = {key([pair.image.stem]) for pair in subject if pair.image not in bare}
    folders: dict[Path, list[Path]] = defaultdict(list)
    for pair in subject:
        folders[pair.image.parent].append(pair.image)
    strays: list[Path] = []
    for folder, images in folders.items():
        alike = all(image in bare and key([without_mask(image.stem)]) in captioned for image in images)
        if alike and not KOHYA_FOLDER.fullmatch(folder.name):
            strays.extend(images)
            report.notices.append(
                f"{folder}: not used; its {len(images)} picture(s) have no captions and the names of captioned "
                "pictures elsewhere, as control pictures and masks have"
            )
    return strays
