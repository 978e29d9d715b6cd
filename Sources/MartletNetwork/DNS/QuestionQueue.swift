/// Who waits for which answer. The same question is asked once, however many want to know; few are asked at a time, the others wait
/// for their turn. Pure: whoever asks is a value.
package struct QuestionQueue<Waiter> {
    package enum Admission: Hashable, Sendable {
        /// To be asked now.
        case begins
        /// It will be handed out by ``end(_:)``.
        case waits
        /// It has been asked already: this one hears what comes of that.
        case joins
        /// There are too many.
        case refused
    }

    private let underWayMax: Int
    private let waitersMax: Int
    private var waiters: [DNSQuestion: [Waiter]] = [:]
    private var underWay: Set<DNSQuestion> = []
    private var queue: [DNSQuestion] = []
    package private(set) var waiterCount = 0

    /// - Parameters:
    ///   - underWayMax: questions that are asked at a time.
    ///   - waitersMax: those who wait for any answer.
    package init(underWayMax: Int, waitersMax: Int) {
        self.underWayMax = max(underWayMax, 1)
        self.waitersMax = max(waitersMax, 1)
    }

    package mutating func add(_ waiter: Waiter, to question: DNSQuestion) -> Admission {
        guard waiterCount < waitersMax else { return .refused }
        waiterCount += 1
        waiters[question, default: []].append(waiter)
        if waiters[question]?.count != 1 { return .joins }
        guard underWay.count < underWayMax else {
            queue.append(question)
            return .waits
        }
        underWay.insert(question)
        return .begins
    }

    /// The question has been answered, or been given up, whether it was its turn or not.
    ///
    /// - Returns: who waited for it, and what is to be asked now, if something is.
    package mutating func end(_ question: DNSQuestion) -> (waiters: [Waiter], next: DNSQuestion?) {
        let told = waiters.removeValue(forKey: question) ?? []
        waiterCount -= told.count
        if underWay.remove(question) == nil { queue.removeAll { $0 == question } }
        guard underWay.count < underWayMax, !queue.isEmpty else { return (told, nil) }
        let next = queue.removeFirst()
        underWay.insert(next)
        return (told, next)
    }

    /// Everybody who waits; nobody does any more, and nothing is under way.
    package mutating func removeAll() -> [Waiter] {
        defer { self = QuestionQueue(underWayMax: underWayMax, waitersMax: waitersMax) }
        return waiters.values.flatMap { $0 }
    }
}
