"""The queue in traditional Chinese."""

TEXTS: dict[str, str] = {
    "Queue": "佇列",
    "{count} ended": "已結束 {count} 個",
    "Up": "上移",
    "Down": "下移",
    "Try again": "重試",
    "Take out": "移出",
    "running": "執行中",
    "step {step} of {total}": "第 {step} 步，共 {total} 步",
    "waits to be tried again: {reason}": "等待重試：{reason}",
    "waits": "等待中",
    "stopped: {reason}": "已停止：{reason}",
    "failed: {reason}": "失敗：{reason}",
}
