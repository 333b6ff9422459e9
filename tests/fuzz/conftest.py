"""Says after a run what became of the inputs."""


def pytest_terminal_summary(terminalreporter):
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    found = [value for report in reports for key, value in report.user_properties if key == "fuzz"]
    if not found:
        return
    total = 0
    for case, reader in found:
        count = sum(reader.outcomes.values())
        total += count
        terminalreporter.write_line(
            f"{case + ':':28} {count:6,} inputs, {reader.outcomes['read']:6,} read, {reader.outcomes['refused']:6,} "
            f"refused, slowest {reader.slowest:.2f} s, largest process {reader.largest} MB"
        )
    terminalreporter.write_line(f"{total:,} inputs in all")
