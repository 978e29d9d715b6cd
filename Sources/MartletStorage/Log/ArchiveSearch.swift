internal import MartletCore

/// How far a reader has come with a page of an archive. It looks at a slice of the archive at a time and then lets others have their turn
/// (``TurnQueue``): whoever searches among a million messages for one that is not there keeps nobody from reading.
///
/// Between two slices a search holds what it found, which is no more than a page may have (``ArchiveRequest/bytesMax``), and no state of the
/// database: what is forgotten meanwhile is not found any more.
struct ArchiveSearch: Sendable {
    /// What one slice is made of at most: about ten milliseconds of looking.
    struct Slice: Sendable {
        var rows: Int
        /// Of stanzas; one more message may be looked at.
        var bytes = 4 << 20
        /// Where messages are counted without being looked at.
        var countedRows: Int { 16 * rows }
    }

    let request: ArchiveRequest
    var builder: ArchivePageBuilder
    /// Names that were not looked at yet.
    var rest: ClosedRange<UInt64>?
    /// Whether what the request names was found to be there.
    var hasBegun = false

    init(_ request: ArchiveRequest) {
        self.request = request
        builder = ArchivePageBuilder(request)
        rest = request.views
    }

    var isDone: Bool { hasBegun && (rest == nil || builder.isDone) }

    /// What of `views` comes behind `view`, in the direction of the request.
    func part(of views: ClosedRange<UInt64>, beyond view: UInt64) -> ClosedRange<UInt64>? {
        if request.isBackwards { return view > views.lowerBound ? views.lowerBound...(view - 1) : nil }
        return view < views.upperBound ? (view + 1)...views.upperBound : nil
    }

    /// What of `views` comes before `view`, in the direction of the request, and `view` itself.
    func part(of views: ClosedRange<UInt64>, upTo view: UInt64) -> ClosedRange<UInt64> {
        request.isBackwards ? max(view, views.lowerBound)...views.upperBound : views.lowerBound...min(view, views.upperBound)
    }
}
