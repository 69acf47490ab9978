"""Sweeps in traditional Chinese."""

TEXTS: dict[str, str] = {
    "Sweep": "掃描",
    "Sweep {name}": "掃描 {name}",
    "The sweep is running.": "掃描正在進行。",
    "The sweep is stopped; the same command goes on.": "掃描已停止；同一命令可繼續。",
    "The sweep has ended, because its trials failed; the same command goes on.": "掃描因試驗失敗而結束；同一命令可繼續。",
    "Its trials are runs of their own: {command} shows them.": "每次試驗都是獨立的訓練：{command} 可檢視。",
    "every trial: its settings and its composite (best on top)": "每次試驗：設定與綜合得分（最好的在上）",
    "settings and composite of every trial": "每次試驗的設定與綜合得分",
    "what decides whether a trial is among the best": "什麼決定試驗能否躋身最好之列",
    "importance of settings": "各設定的重要性",
    "importance": "重要性",
    "winner": "勝者",
    "done": "完成",
    "running": "進行中",
    "reason": "原因",
    "stopped early": "提前停止",
    "No trial is done yet.": "還沒有完成的試驗。",
    "{trial} is the only setting that is done, with a composite of {value:+.2f}.": "只有 {trial} 這一組設定已完成，綜合得分 {value:+.2f}。",
    "{trial} wins with a composite of {value:+.2f}.": "{trial} 勝出，綜合得分 {value:+.2f}。",
    "Its difference to the runner-up, {other}, is {mean:+.2f}, of a single prompt.": "與第二名 {other} 相差 {mean:+.2f}，只有一個提示詞。",
    "By the prompts it is surely better than the runner-up, {other}: {mean:+.2f} ({low:+.2f} to {high:+.2f}).": "按提示詞計算，它明確優於第二名 {other}："
    "{mean:+.2f}（{low:+.2f} 至 {high:+.2f}）。",
    "By the prompts it cannot be told from the runner-up, {other}: {mean:+.2f} ({low:+.2f} to {high:+.2f}).": "按提示詞計算，它與第二名 {other} 無法區分："
    "{mean:+.2f}（{low:+.2f} 至 {high:+.2f}）。",
    "None of its snapshots can be recommended all the same.": "儘管如此，它的快照都不能推薦。",
    "No setting was trained with several seeds, so nothing is known of their luck: set sweep.seeds.": "沒有一組設定用多個種子訓練過，因此不知道種子的影響：請設定 sweep.seeds。",
    "The difference to the runner-up is within it: seeds alone make up to {margin:.2f}.": "與第二名的差距在此之內：僅種子就可造成 {margin:.2f} 的差距。",
    "The difference to the runner-up is beyond it: seeds alone make up to {margin:.2f}.": "與第二名的差距超出此範圍：僅種子至多造成 {margin:.2f} 的差距。",
    "Noise floor: seeds alone move the composite by {deviation:.3f} (standard deviation over {trials} trials of one setting).": "雜訊下限：僅種子就使綜合得分變動 "
    "{deviation:.3f}（同一組設定 {trials} 次試驗的標準差）。",
    "Noise floor: seeds alone move the composite by {deviation:.3f} (standard deviation over {trials} trials of {settings} "
    "settings).": "雜訊下限：僅種子就使綜合得分變動 {deviation:.3f}（{settings} 組設定共 {trials} 次試驗的標準差）。",
    "Stopped early, because they were surely worse: {count} of {trials} trials.": "因明確較差而提前停止：{trials} 次試驗中的 {count} 次。",
    "Failed: {count} of {trials} trials.": "失敗：{trials} 次試驗中的 {count} 次。",
    "The importance of settings needs {least} trials that are done, there are {count}.": "要得出各設定的重要性，需要 {least} 次完成的試驗，目前有 {count} 次。",
}
