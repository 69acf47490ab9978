"""Sweeps in simplified Chinese."""

TEXTS: dict[str, str] = {
    "Sweep": "扫描",
    "Sweep {name}": "扫描 {name}",
    "The sweep is running.": "扫描正在进行。",
    "The sweep is stopped; the same command goes on.": "扫描已停止；同一命令可继续。",
    "The sweep has ended, because its trials failed; the same command goes on.": "扫描因试验失败而结束；同一命令可继续。",
    "Its trials are runs of their own: {command} shows them.": "每次试验都是独立的训练：{command} 可查看。",
    "every trial: its settings and its composite (best on top)": "每次试验：设置与综合得分（最好的在上）",
    "settings and composite of every trial": "每次试验的设置与综合得分",
    "what decides whether a trial is among the best": "什么决定试验能否跻身最好之列",
    "importance of settings": "各设置的重要性",
    "importance": "重要性",
    "winner": "胜者",
    "done": "完成",
    "running": "进行中",
    "reason": "原因",
    "stopped early": "提前停止",
    "No trial is done yet.": "还没有完成的试验。",
    "{trial} is the only setting that is done, with a composite of {value:+.2f}.": "只有 {trial} 这一组设置已完成，综合得分 {value:+.2f}。",
    "{trial} wins with a composite of {value:+.2f}.": "{trial} 胜出，综合得分 {value:+.2f}。",
    "Its difference to the runner-up, {other}, is {mean:+.2f}, of a single prompt.": "与第二名 {other} 相差 {mean:+.2f}，只有一个提示词。",
    "By the prompts it is surely better than the runner-up, {other}: {mean:+.2f} ({low:+.2f} to {high:+.2f}).": "按提示词计算，它明确优于第二名 {other}："
    "{mean:+.2f}（{low:+.2f} 至 {high:+.2f}）。",
    "By the prompts it cannot be told from the runner-up, {other}: {mean:+.2f} ({low:+.2f} to {high:+.2f}).": "按提示词计算，它与第二名 {other} 无法区分："
    "{mean:+.2f}（{low:+.2f} 至 {high:+.2f}）。",
    "None of its snapshots can be recommended all the same.": "尽管如此，它的快照都不能推荐。",
    "No setting was trained with several seeds, so nothing is known of their luck: set sweep.seeds.": "没有一组设置用多个种子训练过，因此不知道种子的影响：请设置 sweep.seeds。",
    "The difference to the runner-up is within it: seeds alone make up to {margin:.2f}.": "与第二名的差距在此之内：仅种子就可造成 {margin:.2f} 的差距。",
    "The difference to the runner-up is beyond it: seeds alone make up to {margin:.2f}.": "与第二名的差距超出此范围：仅种子至多造成 {margin:.2f} 的差距。",
    "Noise floor: seeds alone move the composite by {deviation:.3f} (standard deviation over {trials} trials of one setting).": "噪声下限：仅种子就使综合得分变动 "
    "{deviation:.3f}（同一组设置 {trials} 次试验的标准差）。",
    "Noise floor: seeds alone move the composite by {deviation:.3f} (standard deviation over {trials} trials of {settings} "
    "settings).": "噪声下限：仅种子就使综合得分变动 {deviation:.3f}（{settings} 组设置共 {trials} 次试验的标准差）。",
    "Stopped early, because they were surely worse: {count} of {trials} trials.": "因明确较差而提前停止：{trials} 次试验中的 {count} 次。",
    "Failed: {count} of {trials} trials.": "失败：{trials} 次试验中的 {count} 次。",
    "The importance of settings needs {least} trials that are done, there are {count}.": "要得出各设置的重要性，需要 {least} 次完成的试验，目前有 {count} 次。",
}
