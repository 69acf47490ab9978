"""The queue in simplified Chinese."""

TEXTS: dict[str, str] = {
    "Queue": "队列",
    "{count} ended": "已结束 {count} 个",
    "Up": "上移",
    "Down": "下移",
    "Try again": "重试",
    "Take out": "移出",
    "running": "运行中",
    "step {step} of {total}": "第 {step} 步，共 {total} 步",
    "waits to be tried again: {reason}": "等待重试：{reason}",
    "waits": "等待中",
    "stopped: {reason}": "已停止：{reason}",
    "failed: {reason}": "失败：{reason}",
}
