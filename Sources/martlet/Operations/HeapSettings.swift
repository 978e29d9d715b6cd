#if os(Linux) && canImport(Glibc)
import Glibc
#endif

/// How the C library's heap behaves while the server runs.
enum HeapSettings {
    /// Free bytes at the end of a heap that are kept for the next turn of a loop. The library's own 128 KiB are less than a busy loop takes
    /// and gives back each turn: the pages went to the system and came back, 16,000 page faults a second in chat over TLS.
    static let keptBytes: Int32 = 4 * 1024 * 1024

    /// Before there are threads.
    static func apply() {
        #if os(Linux) && canImport(Glibc)
        // <malloc.h> is in no module of Swift's.
        typealias Option = @convention(c) (Int32, Int32) -> Int32
        let trimThreshold: Int32 = -1
        guard let symbol = dlsym(nil, "mallopt") else { return }
        _ = unsafeBitCast(symbol, to: Option.self)(trimThreshold, keptBytes)
        #endif
    }
}
