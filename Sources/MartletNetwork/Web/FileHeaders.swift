package import MartletCore
package import NIOHTTP1

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// What is asked of a file, and what is said of it (RFC 9110). Pure.
package enum FileRequest: Hashable, Sendable {
    case whole
    case part(Range<Int>)
    /// It has no such part (§15.5.17).
    case noSuchPart
    /// Whoever asks has it already (§15.4.5).
    case notModified

    /// - Parameters:
    ///   - isGet: what is asked of a part by another method means nothing (§14.2).
    package static func asked(_ headers: HTTPHeaders, of bytes: Int, tag: String, modified: String, isGet: Bool) -> FileRequest {
        let tags = headers[canonicalForm: "If-None-Match"]
        if !tags.isEmpty {
            if tags.contains(where: { $0 == "*" || $0 == tag || $0 == "W/\(tag)" }) { return .notModified }
        } else if headers["If-Modified-Since"] == [modified] {
            return .notModified
        }
        let ranges = headers["Range"]
        guard isGet, ranges.count == 1, headers.first(name: "If-Range").map({ $0 == tag || $0 == modified }) ?? true else { return .whole }
        return part(of: bytes, String(ranges[0]))
    }

    /// One range of bytes (§14.1.2). What is not understood, and more than one, is as if nothing were asked.
    private static func part(of bytes: Int, _ text: String) -> FileRequest {
        guard text.lowercased().hasPrefix("bytes=") else { return .whole }
        let ends = text.dropFirst("bytes=".count).split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, ends.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }), ends.contains(where: { !$0.isEmpty }) else { return .whole }
        // What has more digits than a number is beyond every end.
        guard !ends[0].isEmpty else {
            let length = min(Int(ends[1]) ?? .max, bytes)
            return length > 0 ? .part(bytes - length..<bytes) : .noSuchPart
        }
        let first = Int(ends[0]) ?? .max
        let last = ends[1].isEmpty ? bytes - 1 : min(Int(ends[1]) ?? .max, bytes - 1)
        if !ends[1].isEmpty, Int(ends[1]) ?? .max < first { return .whole }
        return first <= last ? .part(first..<last + 1) : .noSuchPart
    }
}

extension StoredUpload {
    /// The name of what is in it (RFC 9110 §8.8.3).
    package var entityTag: String {
        guard case .kept(_, let sha256) = state else { return "\"\"" }
        let digits = sha256.prefix(16).map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }
        return "\"\(digits.joined())\""
    }

    package var lastModified: String {
        guard case .kept(let since, _) = state else { return HTTPDate.text(milliseconds: created) }
        return HTTPDate.text(milliseconds: since)
    }

    /// What browsers may show by themselves: nothing in these can act.
    private static let shown: Set = [
        "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "audio/mpeg", "audio/ogg", "audio/opus", "audio/aac", "audio/flac",
        "audio/mp4", "audio/wav", "audio/webm", "video/mp4", "video/webm", "video/ogg", "video/quicktime",
    ]

    /// - Parameter sharing: for how long others may keep it, in seconds.
    package func headers(sharing: Int) -> HTTPHeaders {
        let type = type ?? MediaType.unknown
        let disposition = Self.shown.contains(type) ? "inline" : "attachment"
        return [
            "Content-Type": type, "Content-Disposition": "\(disposition); filename*=UTF-8''\(PercentEncoding.encoded(fileName))", "ETag": entityTag,
            "Last-Modified": lastModified, "Accept-Ranges": "bytes", "Cache-Control": "private, max-age=\(sharing), immutable",
        ]
    }
}

/// Dates of HTTP (RFC 9110 §5.6.7).
package enum HTTPDate {
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// `Sun, 06 Nov 1994 08:49:37 GMT`.
    package static func text(milliseconds: Int64) -> String {
        guard let parts = parts(milliseconds) else { return "Thu, 01 Jan 1970 00:00:00 GMT" }
        let (day, month) = (days[Int(parts.tm_wday)], months[Int(parts.tm_mon)])
        let time = [parts.tm_hour, parts.tm_min, parts.tm_sec].map(padded).joined(separator: ":")
        return "\(day), \(padded(parts.tm_mday)) \(month) \(Int(parts.tm_year) + 1_900) \(time) GMT"
    }

    /// `19941106T084937Z`, the basic form of ISO 8601.
    package static func basic(milliseconds: Int64) -> String {
        guard let parts = parts(milliseconds) else { return "19700101T000000Z" }
        let date = "\(Int(parts.tm_year) + 1_900)\(padded(parts.tm_mon + 1))\(padded(parts.tm_mday))"
        return "\(date)T\([parts.tm_hour, parts.tm_min, parts.tm_sec].map(padded).joined())Z"
    }

    private static func parts(_ milliseconds: Int64) -> tm? {
        var (seconds, parts) = (time_t(milliseconds / 1_000), tm())
        return gmtime_r(&seconds, &parts) == nil ? nil : parts
    }

    private static func padded(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
