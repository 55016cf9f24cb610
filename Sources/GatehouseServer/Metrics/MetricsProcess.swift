internal import Glibc

/// What Linux tells about the process in /proc/self.
enum ProcessFacts {
    static func value(of family: MetricFamily) -> Double? {
        switch family {
        case .processCPU: self.cpuSeconds()
        case .processResidentMemory: self.statusInBytes("VmRSS:")
        case .processVirtualMemory: self.statusInBytes("VmSize:")
        case .processOpenFiles: self.openFiles()
        case .processMaximumFiles: self.maximumFiles()
        case .processThreads: self.status("Threads:")
        case .processStartTime: self.startTime
        default: nil
        }
    }

    private static func cpuSeconds() -> Double? {
        var usage = rusage()
        guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return nil }
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    private static func statusInBytes(_ key: String) -> Double? {
        self.status(key).map { $0 * 1024 }
    }

    /// The number after a key of /proc/self/status.
    private static func status(_ key: String) -> Double? {
        guard let text = read("/proc/self/status") else { return nil }
        for line in text.split(separator: "\n") where line.hasPrefix(key) {
            let digits = line.dropFirst(key.count).drop { $0 == "\t" || $0 == " " }.prefix { $0.isNumber }
            return Double(digits)
        }
        return nil
    }

    private static func openFiles() -> Double? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count += 1 }
        return Double(count - 3)  // without ".", ".." and the directory itself
    }

    private static func maximumFiles() -> Double? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return Double(limit.rlim_cur)
    }

    /// Seconds since 1970: field 22 of /proc/self/stat counts from the machine's boot.
    private static let startTime: Double? = {
        guard let stat = read("/proc/self/stat") else { return nil }
        // The command's name, in brackets, may hold blanks and brackets.
        guard let nameEnd = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[nameEnd...].split(separator: " ")
        guard fields.count > 20, let ticks = Double(fields[20]) else { return nil }
        var sinceBoot = timespec()
        clock_gettime(CLOCK_BOOTTIME, &sinceBoot)
        let boot = secondsSince1970() - Double(sinceBoot.tv_sec) - Double(sinceBoot.tv_nsec) / 1e9
        return boot + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }()

    private static func read(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 8192)
        while bytes.count < 1 << 20 {
            let count = Glibc.read(file, &chunk, chunk.count)
            guard count > 0 else { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The time of day.
public func secondsSince1970() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}
